"""From pages of listed objects to the images that still need an outcome, with counts and the listing's digest.

Constant memory: a page is filtered, looked up in MySQL and forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sniffer.core.records import ListedObject, ListingDigest, ScanRequest

Settled = Callable[[list[bytes]], Mapping[bytes, bool]]
"""Which of these identities need no second try, and whether they are flagged; asked once for each page."""


@dataclass(slots=True)
class ListingTally:
    """What the listing has shown so far. Written by the thread that lists, read by others for progress."""

    listed: int = 0
    unchanged: int = 0
    flagged: int = 0
    """How many of the unchanged ones have a score at or above the threshold."""
    limited: bool = False
    finished: bool = False
    digest: ListingDigest = field(default_factory=ListingDigest)


def images_to_score(
    pages: Iterable[list[ListedObject]], request: ScanRequest, settled: Settled, tally: ListingTally
) -> Iterator[list[ListedObject]]:
    """For each page the objects that need an outcome, at most `request.limit` in all; may be empty pages.

    An object counts as listed when it is in the window and comes before the limit is reached.
    """
    room = request.limit
    for page in pages:
        inside = [image for image in page if request.in_window(image.last_modified)]
        identities = [image.identity for image in inside]
        known = settled(identities)
        new = [image for image, identity in zip(inside, identities, strict=True) if identity not in known]
        if room is not None and len(new) >= room:
            tally.limited = True
            cut = inside.index(new[room - 1]) + 1
            inside, identities, new = inside[:cut], identities[:cut], new[:room]
        tally.listed += len(inside)
        tally.unchanged += len(inside) - len(new)
        tally.flagged += sum(known.get(identity, False) for identity in identities)
        tally.digest.add(identities)
        yield new
        if room is not None:
            room -= len(new)
            if room <= 0:
                break
    tally.finished = True
