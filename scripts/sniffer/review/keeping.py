"""Copies of decided images in a bucket of one's own, so that what moderation deletes can still be trained on.

A copy's key ends in the SHA-256 of its bytes, which are those that were decided: other bytes under the image's key are
not kept. What is killed at any moment is made good by the next one, and a copy that is there is not made twice.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import timedelta
from threading import Lock

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.s3.bucket import Bucket
from sniffer.adapters.s3.errors import NotFetched
from sniffer.adapters.s3.locations import S3_SCHEME, bucket_of, split_s3
from sniffer.core.errors import SettingsError, TransientError
from sniffer.core.kept_images import BegunCopy, DecidedBytesAt, NoCopy
from sniffer.core.records import Outcome
from sniffer.core.settings import FetchSettings
from sniffer.core.text import one_line

log = logging.getLogger(__name__)

UNNEEDED_FOR = timedelta(days=1)
"""So long a copy without a decision stays: the decision may be on its way, or be taken back by mistake."""
_AT_ONCE = 8
_PAGE = 200
_MOST_FAILED_PAGES = 3


@dataclass(frozen=True, slots=True)
class KeptReport:
    """What has become of decided bytes: copies made now, those that are not to be had, by why, and copies removed."""

    kept: int
    lost: Mapping[str, int]
    removed: int = 0


@dataclass(frozen=True, slots=True)
class _Made:
    version_id: str
    size_bytes: int


class ImageKeeper:
    """Copies bytes into `s3://bucket/prefix`. For many threads at once; SettingsError for a place that is none.

    `open_bucket` opens those that the images lie in, as their reader does.
    """

    def __init__(self, place: str, open_bucket: Callable[[str], Bucket], fetch: FetchSettings) -> None:
        if not place.startswith(S3_SCHEME):
            raise SettingsError(f"copies are kept at s3://BUCKET/PREFIX, not at {one_line(place)}")
        self.bucket, prefix = split_s3(place)
        self._prefix = f"{prefix.rstrip('/')}/" if prefix.rstrip("/") else ""
        self._target = bucket_of(self.bucket, fetch, 1)
        self._open_bucket = open_bucket
        self._buckets: dict[str, Bucket] = {}
        self._opening = Lock()
        self._workers = ThreadPoolExecutor(_AT_ONCE, "keeping")

    def keep(
        self, database: Database, wanted: Sequence[DecidedBytesAt], *, patience_s: float | None = None
    ) -> KeptReport:
        """Make what copies are missing; of bytes that several objects have, the first that still has them is read.

        Within `patience_s`, if given: what is late is made good later, as after a kill. Raises the first error of a
        store that is of no use, SettingsError or TransientError; what was copied meanwhile is kept.
        """
        report, failed = self.try_to_keep(database, wanted, patience_s=patience_s)
        if failed is not None:
            raise failed
        return report

    def try_to_keep(
        self, database: Database, wanted: Sequence[DecidedBytesAt], *, patience_s: float | None = None
    ) -> tuple[KeptReport, BaseException | None]:
        """The same, with the first error beside what was done in spite of it."""
        at: dict[bytes, list[DecidedBytesAt]] = defaultdict(list)
        for each in wanted:
            at[each.content_hash].append(each)
        begun = database.kept_images.begin(self.bucket, {content: self.key_of(content) for content in at})
        asked = {self._workers.submit(self._copied, at[each.content_hash]): each for each in begun}
        done, late = wait(asked, timeout=patience_s)
        for one in late:
            one.cancel()
        if late:
            log.warning("%d copies of decided images are late: they are tried again", len(late))
        return self._recorded(database, {asked[one]: one for one in done}, at)

    def key_of(self, content_hash: bytes) -> str:
        """Where a copy of these bytes lies."""
        name = content_hash.hex()
        return f"{self._prefix}{name[:2]}/{name}"

    def _recorded(
        self,
        database: Database,
        done: Mapping[BegunCopy, Future[_Made | NoCopy]],
        at: Mapping[bytes, Sequence[DecidedBytesAt]],
    ) -> tuple[KeptReport, BaseException | None]:
        kept, lost = 0, Counter[str]()
        failed: BaseException | None = None
        for begun, future in done.items():
            if (error := future.exception()) is not None:
                failed = failed or error
                continue
            made = future.result()
            if isinstance(made, NoCopy):
                if made is not NoCopy.REFUSED:
                    database.kept_images.fail(begun, made, max(each.number for each in at[begun.content_hash]))
                lost[made] += 1
            elif database.kept_images.end(begun, made.version_id, made.size_bytes):
                kept += 1
            elif not database.kept_images.is_known(begun.content_hash):
                # It was erased while it was made.
                self._target.remove(self.key_of(begun.content_hash))
        return KeptReport(kept, lost), failed

    def _copied(self, places: Sequence[DecidedBytesAt]) -> _Made | NoCopy:
        why = []
        for each in places:
            found = self._read(each)
            if isinstance(found, bytes):
                return _Made(self._target.keep(self.key_of(each.content_hash), found), len(found))
            why.append(found)
        # One that may be read some day is hope for all.
        return NoCopy.REFUSED if NoCopy.REFUSED in why else why[-1]

    def _read(self, wanted: DecidedBytesAt) -> bytes | NoCopy:
        try:
            data = self._source(wanted.bucket).read(wanted.key).data
        except SettingsError as error:
            log.warning("decided images of the bucket %s cannot be copied: %s", one_line(wanted.bucket), error)
            return NoCopy.REFUSED
        except NotFetched as error:
            if error.verdict.outcome is Outcome.INACCESSIBLE:
                return NoCopy.REFUSED
            if error.verdict.outcome is Outcome.GONE:
                return NoCopy.GONE
            if error.verdict.outcome is Outcome.UNREADABLE:
                return NoCopy.UNREADABLE
            where = f"{S3_SCHEME}{wanted.bucket}/{one_line(wanted.key)}"
            raise TransientError(f"cannot copy {where} ({one_line(error.verdict.message)}): run again later") from error
        return data if hashlib.sha256(data).digest() == wanted.content_hash else NoCopy.REPLACED

    def _source(self, name: str) -> Bucket:
        with self._opening:
            if name not in self._buckets:
                self._buckets[name] = self._open_bucket(name)
            return self._buckets[name]


@dataclass(slots=True)
class KeepingProgress:
    """Up to which decision all was looked at; what was not to be had for the moment is before it."""

    after: int = 0


def keep_missing(
    database: Database, keeper: ImageKeeper, progress: KeepingProgress, *, stops: Callable[[], bool] = lambda: False
) -> KeptReport:
    """Copy what live decisions after that place are about and has no copy, and remove what nobody needs any more.

    What one object or bucket refuses, or fails to give, holds no others up. After all of them the first failure is
    raised, or after a few pages in a row that only failed, as when S3 is away. What was refused or failed is found
    again by whoever begins anew. Cost: those decisions, a page at a time.
    """
    kept, lost = 0, Counter[str]()
    failed: BaseException | None = None
    in_a_row = 0
    while not stops() and (page := database.kept_images.missing(progress.after, _PAGE)):
        progress.after = page[-1].number
        report, error = keeper.try_to_keep(database, page)
        kept += report.kept
        lost.update(report.lost)
        failed = failed or error
        in_a_row = in_a_row + 1 if error is not None and not (report.kept or report.lost) else 0
        if in_a_row == _MOST_FAILED_PAGES:
            break
    unneeded = database.kept_images.to_remove(unneeded_for=UNNEEDED_FOR)
    removed = database.kept_images.remove_all(unneeded, lambda name: bucket_of(name, FetchSettings(), 1).remove)
    if failed is not None:
        raise failed
    return KeptReport(kept, lost, removed)
