"""From pages of listed objects to the images that still need an outcome, with counts and the listing's digest.

Constant memory: a page is filtered, looked up in MySQL and forgotten.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sniffer.adapters.s3.errors import InaccessibleCode
from sniffer.adapters.s3.keys import is_usable, unusable
from sniffer.adapters.s3.storage_classes import hides_archive, is_archived
from sniffer.core.records import FailureSample, ListedObject, ListingDigest, Outcome, ScanRequest
from sniffer.scan.bounds import ShardBound
from sniffer.scan.rules import SkipRules

Settled = Callable[[list[bytes]], Mapping[bytes, bool]]
"""Which of these identities need no second try, and whether they are flagged; asked once for each page."""

MAX_SAMPLES = 100
FIRST_PROBES = 3
"""So many objects of each code are asked for again; once they have been, it is one of each code a page."""


@dataclass(frozen=True, slots=True)
class StillInaccessible:
    """How to find out whether what an earlier scan could not read can be read by now.

    `known` gives the codes of those of these identities that could not be; `probe` the code with which S3 refuses an
    object now, and "" when it does not.
    """

    known: Callable[[list[bytes]], Mapping[bytes, str]]
    probe: Callable[[ListedObject], str]


@dataclass(frozen=True, slots=True)
class EarlierScans:
    """How to find out what came late: `seen` gives those of these identities that another scan has a row of.

    A scan that `resumes` may have settled some itself, in an earlier run.
    """

    seen: Callable[[list[bytes]], Collection[bytes]]
    resumes: bool = False


@dataclass(slots=True)
class ListingTally:
    """What the listing has shown so far. Written by the thread that lists, read by others for progress."""

    seen: int = 0
    """Objects under the prefix, in the window or not."""
    listed: int = 0
    unchanged: int = 0
    flagged: int = 0
    """How many of the unchanged ones have a score at or above the threshold."""
    late: int = 0
    """How many belong to earlier scans, none of which has seen them."""
    limited: bool = False
    finished: bool = False
    ended_at: str | None = None
    """The last key, where a bound ended the listing: what comes after it is for another scan."""
    digest: ListingDigest = field(default_factory=ListingDigest)
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    """Objects that have their outcome from the listing alone, without those that are unchanged."""
    codes: Counter[str] = field(default_factory=Counter)
    """The same objects by code."""
    samples: list[FailureSample] = field(default_factory=list)
    refused: Mapping[bytes, str] = field(default_factory=dict)
    """Of the last page: identities that keep the verdict of an earlier scan, with their codes."""

    @property
    def decided(self) -> int:
        """Listed objects that nobody is asked for."""
        return self.unchanged + self.outcomes.total()

    def decide(self, outcome: Outcome, code: str) -> None:
        """One object has its outcome."""
        self.outcomes[outcome] += 1
        self.codes[code] += 1


def images_to_score(
    pages: Iterable[list[ListedObject]],
    request: ScanRequest,
    settled: Settled,
    tally: ListingTally,
    still: StillInaccessible | None = None,
    earlier: EarlierScans | None = None,
    bound: ShardBound | None = None,
) -> Iterator[list[ListedObject]]:
    """For each page the objects that need an outcome, at most `request.limit` in all; may be empty pages.

    With a bound, for pages in the order of their keys, it may end before the last of them.

    An object counts as listed when it is in the window and comes before the limit is reached; on the last page, what
    is left out by rule counts too.
    """
    rules, probes, room = SkipRules(request), _Probes(still, request), request.limit
    handed_out, end = 0, None
    for page in pages:
        if end is not None:  # and this page is what is left over
            tally.ended_at = end
            break
        tally.seen += sum(not image.key.startswith(request.late_prefixes) for image in page)
        inside = _without_set_aside(page, request, rules, tally)
        identities = [image.identity for image in inside]
        known = settled(identities)
        new = [image for image, identity in zip(inside, identities, strict=True) if identity not in known]
        tally.refused = refused = probes.still_refused(new)
        new = [image for image in new if image.identity not in refused]
        if room is not None and len(new) >= room:
            tally.limited = True
            cut = inside.index(new[room - 1]) + 1
            inside, identities, new = inside[:cut], identities[:cut], new[:room]
        tally.listed += len(inside)
        tally.unchanged += sum(identity in known for identity in identities)
        tally.flagged += sum(known.get(identity, False) for identity in identities)
        for identity in identities:
            if identity in refused:
                tally.decide(Outcome.INACCESSIBLE, refused[identity])
        if earlier is not None and request.looks_back:
            candidates = [
                identity
                for image, identity in zip(inside, identities, strict=True)
                if request.belongs_to_earlier(image) and (earlier.resumes or identity not in known)
            ]
            tally.late += len(candidates) - len(earlier.seen(candidates))
        tally.digest.add(identities)
        yield new
        handed_out += len(new)
        if bound is not None and page:
            end = bound.end(page[-1].key, handed_out)
        if room is not None:
            room -= len(new)
            if room <= 0:
                break
    tally.finished = True


def empty_window_hint(request: ScanRequest, tally: ListingTally) -> str:
    """What to do about a window in which nothing was modified, though there are objects; empty when that is not so."""
    if tally.listed or not tally.seen or not tally.finished or not (request.since or request.until):
        return ""
    ends = [
        *([f"from {request.since.isoformat()}"] if request.since else []),
        *([f"until just before {request.until.isoformat()}"] if request.until else []),
    ]
    return (
        f"none of the {tally.seen} objects under s3://{request.bucket}/{request.prefix} was modified {' '.join(ends)}. "
        "All of them had to be listed to know: for a bucket without dates in its keys, one scan with a wider window, "
        "or without one, costs as much as that of a day"
    )


def _without_set_aside(
    page: list[ListedObject], request: ScanRequest, rules: SkipRules, tally: ListingTally
) -> list[ListedObject]:
    """The page's objects in the window, but those that get their outcome here: left out by rule, or no usable key."""
    kept = []
    for image in page:
        if not request.in_window(image.last_modified):
            continue
        code = rules.code(image)
        if not code and is_usable(image.key):
            kept.append(image)
            continue
        tally.listed += 1
        if code:
            tally.decide(Outcome.SKIPPED, code)
        else:
            _give_up(image, tally)
        tally.digest.add([hashlib.sha256(image.key.encode(errors="surrogateescape")).digest()])
    return kept


def _give_up(image: ListedObject, tally: ListingTally) -> None:
    verdict = unusable(image.key)
    tally.decide(verdict.outcome, verdict.code)
    if len(tally.samples) < MAX_SAMPLES:
        key = image.key.encode(errors="surrogateescape").decode(errors="backslashreplace")
        tally.samples.append(FailureSample(key, verdict.outcome, verdict.code, verdict.message))


class _Probes:
    """Asks for a few of what could not be read before, instead of for all of it every night.

    Rights and keys change for many objects at once, so that one that can be read again opens all of its code. Which
    are asked for differs from scan to scan: no object hides for ever behind others that stay refused.
    """

    def __init__(self, still: StillInaccessible | None, request: ScanRequest) -> None:
        self._still = None if request.rescan else still
        self._retries = request.retry_failed
        self._salt = request.scan_id.encode()
        self._asked: Counter[str] = Counter()
        self._open: set[str] = set()

    def still_refused(self, images: list[ListedObject]) -> dict[bytes, str]:
        """Codes of those of the page's images that keep the verdict of an earlier scan."""
        if self._still is None or not images:
            return {}
        known = self._still.known([image.identity for image in images])
        refused: dict[bytes, str] = {}
        to_ask: dict[str, list[ListedObject]] = {}
        for image in images:
            code = known.get(image.identity, "")
            if code and is_archived(image.storage_class):
                refused[image.identity] = code
            elif code and not self._may_have_changed(image, code):
                to_ask.setdefault(code, []).append(image)
        for code, candidates in to_ask.items():
            refused |= self._ask_some(self._still, candidates, code)
        return refused

    def _may_have_changed(self, image: ListedObject, code: str) -> bool:
        """Whether to fetch it without asking: it was restored or moved, or whoever asks for a retry has acted."""
        return self._retries or (code == InaccessibleCode.ARCHIVED and not hides_archive(image.storage_class))

    def _ask_some(self, still: StillInaccessible, images: list[ListedObject], code: str) -> dict[bytes, str]:
        if code in self._open:
            return {}
        by_turn = sorted(images, key=lambda image: hashlib.sha256(self._salt + image.identity).digest())
        chosen = by_turn[: max(1, FIRST_PROBES - self._asked[code])]
        self._asked[code] += len(chosen)
        answers = {image.identity: still.probe(image) for image in chosen}
        refused = {identity: now for identity, now in answers.items() if now}
        if len(refused) < len(answers):
            self._open.add(code)
            return refused
        return {image.identity: code for image in images} | refused
