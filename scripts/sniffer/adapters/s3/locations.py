"""S3 as the training path reads it: buckets that are known to be there, and whole objects by `s3://bucket/key`."""

from __future__ import annotations

import errno
from collections.abc import Callable

from sniffer.adapters.s3.bucket import Bucket
from sniffer.adapters.s3.errors import InaccessibleCode, NotFetched
from sniffer.adapters.s3.fetching import StoredObject
from sniffer.core.errors import SettingsError, TransientError, UnreadableImage
from sniffer.core.records import Outcome
from sniffer.core.retry import not_counted
from sniffer.core.settings import FetchSettings

S3_SCHEME = "s3://"


def split_s3(location: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`; raises SettingsError without a bucket."""
    name, _, key = location.removeprefix(S3_SCHEME).partition("/")
    if not name:
        raise SettingsError(f"{location!r} names no bucket: it must look like s3://bucket/prefix")
    return name, key


def bucket_of(name: str, fetch: FetchSettings, max_bytes: int, *, on_retry: Callable[[], None] = not_counted) -> Bucket:
    """The bucket of that name, as the settings say; nothing is asked yet."""
    return Bucket(
        name,
        patience_s=fetch.patience_s,
        max_bytes=max_bytes,
        connections=fetch.threads,
        requester_pays=fetch.requester_pays,
        on_retry=on_retry,
    )


def open_bucket(name: str, fetch: FetchSettings, max_bytes: int) -> Bucket:
    """The bucket, known to be there and ours to list; raises SettingsError or TransientError.

    What may be read of it shows with the first object.
    """
    bucket = bucket_of(name, fetch, max_bytes)
    bucket.check(reads_all=False)
    return bucket


def read_object(bucket: Bucket, key: str) -> StoredObject:
    """The object and its ETag; raises as ImageSource.read_stored does."""
    where = f"{S3_SCHEME}{bucket.name}/{key}"
    try:
        return bucket.read(key)
    except NotFetched as error:
        verdict = error.verdict
        if verdict.outcome is Outcome.GONE:
            raise FileNotFoundError(errno.ENOENT, verdict.message, where) from error
        if verdict.outcome is Outcome.UNREADABLE:
            raise UnreadableImage(verdict.code, verdict.message) from error
        if verdict.code == InaccessibleCode.ACCESS_DENIED:
            raise SettingsError(
                f"no permission to read {where} ({verdict.message}): the credentials need s3:GetObject"
            ) from error
        if verdict.outcome is Outcome.INACCESSIBLE:
            raise SettingsError(f"cannot read {where} ({verdict.code}: {verdict.message})") from error
        raise TransientError(f"cannot read {where} ({verdict.message}): run again later") from error
