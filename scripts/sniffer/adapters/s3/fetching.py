"""Whole objects, proven to be those that were listed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from botocore.exceptions import BotoCoreError, ClientError

from sniffer.adapters.s3.client import BucketClient
from sniffer.adapters.s3.errors import InaccessibleCode, NotFetched, Reaction, Refusal, bare_etag, same_etag
from sniffer.adapters.s3.keys import is_usable, may_be_rewritten, unusable
from sniffer.adapters.s3.listing import Listing
from sniffer.adapters.s3.route import Route, S3Answer
from sniffer.adapters.s3.storage_classes import is_archived
from sniffer.core.errors import SettingsError, TransientError
from sniffer.core.records import ListedObject, Outcome, Unscored
from sniffer.core.retry import RetryLater
from sniffer.core.text import one_line

_LONGEST_REFUSAL_BYTES = 1 << 16
DENIALS = 100
"""After so many refusals in a row an object that was given before is asked for again."""
_PAUSE_S = 0.2
_DISAGREEMENTS = 3
"""So often in a row the listing and a GET may tell of different objects before that is believed."""
_LATER = "modified"
_CLOCK_GRAIN = timedelta(seconds=2)
"""The head of an answer has whole seconds, rounded by whoever made it."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A whole object as it was when it was read. `etag` is bare (no quotes)."""

    data: bytes
    etag: str


class Fetcher:
    """Reads objects of one bucket. May be used by many threads."""

    def __init__(self, client: BucketClient, listing: Listing, max_bytes: int) -> None:
        self._client = client
        self._listing = listing
        self._max_bytes = max_bytes
        self._route = Route(client, max_bytes)
        self._denials = 0
        self._witness: str | None = None

    def fetch(self, image: ListedObject) -> bytes:
        """The bytes of the object that was listed; raises as Bucket.fetch does."""
        if is_archived(image.storage_class):
            message = f"it lies in {image.storage_class}: restore it, or move it to another storage class"
            raise NotFetched(Unscored(Outcome.INACCESSIBLE, InaccessibleCode.ARCHIVED, message))
        self._check_size(image.size_bytes)
        comparison = _Comparison(image, self._listing)
        try:
            data = self._get(image.key, comparison.check, image.size_bytes).data
        except NotFetched as error:
            if error.verdict.code == InaccessibleCode.ACCESS_DENIED:
                self._denied(error.verdict.message)
            raise
        self._denials, self._witness = 0, image.key
        return data

    def _denied(self, message: str) -> None:
        """Notice when nothing can be read any more, though many objects of one uploader's may be refused in a row."""
        self._denials += 1
        if self._denials % DENIALS:
            return
        if self._witness is None or self.inaccessible_code(self._witness) == InaccessibleCode.ACCESS_DENIED:
            raise SettingsError(
                f"{self._client.place} refused {self._denials} objects in a row ({message}): the credentials need "
                "s3:GetObject"
            )

    def read(self, key: str) -> StoredObject:
        """The object under that key, whatever it is now; raises as Bucket.read does."""
        return self._get(key, lambda answer: self._check_size(answer.content_length or 0))

    def remember(self, given: ListedObject) -> None:
        """That object can be read: it is asked for again when many others cannot."""
        self._witness = given.key

    def ask_for(self, key: str) -> Refusal | None:
        """Ask for the object, and read nothing of it; returns how S3 refuses, raises BotoCoreError.

        As boto3 does it for a listing, it asks a second time when it may pass.
        """
        refusal = self._ask_once(key)
        if refusal is not None and refusal.reaction is Reaction.RETRY:
            time.sleep(_PAUSE_S)
            refusal = self._ask_once(key)
        return refusal

    def inaccessible_code(self, key: str) -> str:
        """The code with which S3 refuses that object now; "" when it gives it, or something else is the matter."""
        try:
            refusal = self.ask_for(key)
        except (BotoCoreError, ClientError):
            return ""
        return (
            "" if refusal is None or refusal.reaction is not Reaction.INACCESSIBLE else str(refusal.inaccessible_code)
        )

    def _ask_once(self, key: str) -> Refusal | None:
        with self._route.get(key) as answer:
            return None if answer.status == 200 else _refusal(answer)

    def _get(self, key: str, check: Callable[[S3Answer], None], size_bytes: int | None = None) -> StoredObject:
        if not is_usable(key):
            raise NotFetched(unusable(key))
        try:
            return self._client.patiently(lambda: self._attempt(key, check, size_bytes))
        except TransientError as error:
            raise NotFetched(Unscored(Outcome.FAILED, "fetch", str(error))) from error

    def _attempt(self, key: str, check: Callable[[S3Answer], None], size_bytes: int | None) -> StoredObject:
        with self._route.get(key) as answer:
            if answer.status != 200:
                raise self._refused(key, _refusal(answer))
            if size_bytes is not None and not bare_etag(answer.headers.get("ETag")):
                # No object that was listed: what stands between us and S3 may say so in S3's words with a 200.
                refusal = _refusal(answer)
                if refusal.code:
                    raise self._refused(key, refusal)
            check(answer)
            if size_bytes is None and not answer.tells_its_end:
                raise RetryLater("an answer without a length, which may be cut off anywhere")
            data = answer.read(self._max_bytes + 1)
            etag = bare_etag(answer.headers.get("ETag"))
        # An answer that does not tell its length may end anywhere.
        length = size_bytes if answer.content_length is None else answer.content_length
        if length is not None and len(data) != length:
            raise RetryLater(f"{len(data)} of {length} bytes came")
        self._check_size(len(data))
        return StoredObject(data, etag)

    def _refused(self, key: str, refusal: Refusal) -> Exception:
        match refusal.reaction:
            case Reaction.RETRY:
                return RetryLater(str(refusal))
            case Reaction.STOP if not is_about_this_key(refusal, key):
                return refusal.stopped(self._client.place)
            case _:
                return NotFetched(refusal.verdict())

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._max_bytes:
            raise NotFetched(
                Unscored(
                    Outcome.UNREADABLE,
                    "over_byte_limit",
                    f"{size_bytes} bytes, the limit is {self._max_bytes} (SNIFFER_MAX_IMAGE_BYTES)",
                )
            )


class _Comparison:
    """Whether what is fetched is what was listed. On a difference the listing is asked again: it may be news."""

    def __init__(self, image: ListedObject, listing: Listing) -> None:
        self._image = image
        self._listing = listing
        self._disagreements = 0

    def check(self, answer: S3Answer) -> None:
        """Raises NotFetched, or RetryLater for what may pass."""
        difference = self._difference(answer)
        if not difference:
            return
        image, now = self._image, self._listing.look_up(self._image.key)
        if now is None:
            raise RetryLater(f"the object is not listed any more, and the answer has {difference}")
        later_s = abs(now.last_modified - image.last_modified).total_seconds()
        if (now.etag, now.size_bytes) != (image.etag, image.size_bytes) or later_s >= 1:
            raise NotFetched(
                Unscored(
                    Outcome.GONE,
                    "replaced",
                    "replaced by other bytes since it was listed: the next scan that lists it scores those",
                )
            )
        if difference.startswith(_LATER):
            return  # a store whose GETs tell another time than its listing: not the bytes differ
        self._disagreements += 1
        message = f"a GET gives another object than the listing shows: {difference}"
        if self._disagreements < _DISAGREEMENTS:
            raise RetryLater(message)
        raise NotFetched(Unscored(Outcome.FAILED, "not_as_listed", f"{message}; listed again, it is as before"))

    def _difference(self, answer: S3Answer) -> str:
        """What does not fit; "" when all does."""
        image, etag, length = self._image, bare_etag(answer.headers.get("ETag")), answer.content_length
        if not same_etag(etag, image.etag):
            return f"ETag {one_line(etag, 100)!r}, listed {image.etag!r}" if etag else f"no ETag, listed {image.etag!r}"
        if length is not None and length != image.size_bytes:
            return f"{length} bytes, listed {image.size_bytes}"
        modified = _moment(answer.headers.get("Last-Modified", ""))
        if modified is not None and modified - image.last_modified > _CLOCK_GRAIN:
            return f"{_LATER} {modified.isoformat()}, listed {image.last_modified.isoformat()}"
        return ""


def is_about_this_key(refusal: Refusal, key: str) -> bool:
    """Whether that signature is wrong because of how the key is written on its way: no fault of the credentials."""
    return refusal.code == "SignatureDoesNotMatch" and may_be_rewritten(key)


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _refusal(answer: S3Answer) -> Refusal:
    try:
        return Refusal.parse(answer.status, answer.read(_LONGEST_REFUSAL_BYTES))
    except RetryLater as error:
        return Refusal(answer.status, "", str(error))
