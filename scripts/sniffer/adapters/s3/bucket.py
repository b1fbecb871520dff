"""S3: list a bucket by pages, fetch its objects concurrently, put files. S3 is touched here only.

Listing goes through boto3, which knows every way to find credentials and every key. Fetching goes through obstore,
whose GET costs a third of boto3's CPU; its paths cannot express some legal keys ("a//b", "a/", control characters),
so those few are fetched by boto3 too. Both use the credentials that boto3's chain finds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import boto3
import obstore
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import (
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from sniffer.core.errors import SettingsError, SnifferError, TransientError
from sniffer.core.records import ListedObject, Outcome, Unscored
from sniffer.core.retry import Retry, RetryLater
from sniffer.core.text import one_line

_T = TypeVar("_T")

PAGE_SIZE = 1000
_LAST_PAUSE_S = 10.0
_CHUNK_BYTES = 1 << 20
# The third is S3's answer to one of two conditional writes at the same moment: it wants to be asked again.
_TRANSIENT_CODES = ("SlowDown", "RequestTimeout", "ConditionalRequestConflict", "Throttling")
# Segments that obstore's Path drops or refuses: empty ones (also at either end), ".", "..", control characters.
_UNUSUAL_KEY = re.compile(r"^/|/$|//|(^|/)\.\.?(/|$)|[\x00-\x1f\x7f]")


class NotFetched(SnifferError):
    """This object has no bytes for us; `verdict` says why. Nothing is wrong with the scan."""

    def __init__(self, verdict: Unscored) -> None:
        super().__init__(verdict.message)
        self.verdict = verdict


class _PreconditionFailed(Exception):
    """There is an object under that key already."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A whole object as it was when it was read. `etag` is bare (no quotes)."""

    data: bytes
    etag: str


class Bucket:
    """One S3 bucket. `fetch` and `read` may be called from many threads at once.

    `patience_s` bounds how long an S3 that answers 5xx, or not at all, is retried before giving up.
    """

    def __init__(self, name: str, *, patience_s: float, max_bytes: int, connections: int = 16) -> None:
        self.name = name
        self._patience_s = patience_s
        self._max_bytes = max_bytes
        self._session = boto3.session.Session()
        try:
            self._client: Any = self._session.client(
                "s3",
                config=Config(
                    max_pool_connections=connections,
                    connect_timeout=5,
                    read_timeout=30,
                    retries={"mode": "standard", "total_max_attempts": 2},
                ),
                region_name=self._session.region_name or "us-east-1",
            )
        except (BotoCoreError, ValueError) as error:
            raise SettingsError(f"S3: {error}: check the AWS_* variables") from error
        self._objects: S3Store | None = None

    def check(self) -> None:
        """Fail at once, in one line, when the bucket cannot be listed: SettingsError or TransientError."""
        try:
            answer = self._client.list_objects_v2(Bucket=self.name, MaxKeys=1)
        except ParamValidationError as error:
            raise SettingsError(f"{self.name!r} is not a bucket name: {one_line(error)}") from error
        except (BotoCoreError, ClientError) as error:
            raise self._explain(error) from error
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        self._open_objects(headers.get("x-amz-bucket-region") or self._client.meta.region_name)

    def holds(self, prefix: str) -> bool:
        """Whether there is any object under the prefix."""
        request = {"Bucket": self.name, "Prefix": prefix, "MaxKeys": 1}
        return bool(self._patiently(lambda: self._client.list_objects_v2(**request)).get("Contents"))

    def pages(self, prefix: str) -> Iterator[list[ListedObject]]:
        """The objects under the prefix, in pages of at most 1,000, in S3's order. An empty bucket gives no page."""
        request = {"Bucket": self.name, "Prefix": prefix, "MaxKeys": PAGE_SIZE}
        while True:
            answer = self._patiently(lambda: self._client.list_objects_v2(**request))
            page = [self._listed(entry) for entry in answer.get("Contents", ())]
            if page:
                yield page
            if not answer.get("IsTruncated"):
                return
            request["ContinuationToken"] = answer["NextContinuationToken"]

    def fetch(self, image: ListedObject) -> bytes:
        """The object's bytes, if it is still the one that was listed; raises NotFetched otherwise."""
        self._check_size(image.size_bytes)
        return self._get(image.key, lambda etag, _size: self._check_same(image, etag)).data

    def read(self, key: str) -> StoredObject:
        """The object under that key, whatever it is now; raises NotFetched as `fetch` does."""
        return self._get(key, lambda _etag, size_bytes: self._check_size(size_bytes))

    # ---- files ----------------------------------------------------------------------------------------------

    def create(self, key: str, data: bytes) -> bool:
        """Put a small object where none is; False when one is there. Of several creators at once one gets True."""
        try:
            self._write(key, lambda: self._client.put_object(Bucket=self.name, Key=key, Body=data, IfNoneMatch="*"))
        except _PreconditionFailed:
            return False
        return True

    def upload(self, path: Path, key: str) -> None:
        """Put a file of up to 5 GB; what was there is replaced as a whole."""

        def put() -> None:
            with path.open("rb") as file:
                self._client.put_object(Bucket=self.name, Key=key, Body=file)

        self._write(key, put)

    def download(self, key: str, path: Path) -> None:
        """Write an object of any size to a file; raises NotFetched as `read` does."""

        def get() -> None:
            body = self._client.get_object(Bucket=self.name, Key=key)["Body"]
            with path.open("wb") as file:
                for chunk in body.iter_chunks(_CHUNK_BYTES):
                    file.write(chunk)

        self._explained_get(get)

    def _write(self, key: str, put: Callable[[], object]) -> None:
        where = f"s3://{self.name}/{key}"
        try:
            self._patiently(put)
        except ClientError as error:
            if _status(error) == 412:
                raise _PreconditionFailed from error
            if _status(error) in (401, 403):
                raise SettingsError(f"no permission to write {where}: the credentials need s3:PutObject") from error
            raise SettingsError(f"cannot write {where} ({one_line(error)})") from error

    # ---- fetching -------------------------------------------------------------------------------------------

    def _open_objects(self, region: str) -> None:
        endpoint = self._client.meta.endpoint_url
        host = urlsplit(endpoint).hostname or ""
        self._objects = S3Store(
            self.name,
            region=region,
            # On AWS obstore builds the regional address itself; any other S3 is where boto3 was told it is.
            **({} if host.endswith((".amazonaws.com", ".amazonaws.com.cn")) else {"endpoint": endpoint}),
            credential_provider=Boto3CredentialProvider(self._session),
            client_options={"allow_http": endpoint.startswith("http:"), "timeout": "60s", "connect_timeout": "5s"},
            retry_config={
                "max_retries": 1_000,
                "retry_timeout": timedelta(seconds=self._patience_s),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=100),
                    "max_backoff": timedelta(seconds=_LAST_PAUSE_S),
                    "base": 2,
                },
            },
        )

    def _get(self, key: str, check: Callable[[str, int], None]) -> StoredObject:
        """GET; `check(etag, size_bytes)` may refuse the object before its bytes are transferred."""
        if _UNUSUAL_KEY.search(key):
            return self._get_by_boto3(key, check)
        return self._get_by_obstore(key, check)

    def _get_by_obstore(self, key: str, check: Callable[[str, int], None]) -> StoredObject:
        if self._objects is None:
            raise RuntimeError("Bucket.check() comes before fetch() and read()")
        try:
            answer = obstore.get(self._objects, key)
            etag = (answer.meta["e_tag"] or "").strip('"')
            check(etag, answer.meta["size"])
            return StoredObject(answer.bytes().to_bytes(), etag)
        except (FileNotFoundError, NotFoundError) as error:
            raise _gone() from error
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise _failed("access_denied", error) from error
        except BaseError as error:
            raise _failed("fetch", error) from error

    def _get_by_boto3(self, key: str, check: Callable[[str, int], None]) -> StoredObject:
        def get() -> StoredObject:
            answer = self._client.get_object(Bucket=self.name, Key=key)
            etag = answer["ETag"].strip('"')
            check(etag, answer["ContentLength"])
            return StoredObject(answer["Body"].read(), etag)

        return self._explained_get(get)

    def _explained_get(self, get: Callable[[], _T]) -> _T:
        try:
            return self._patiently(get)
        except ClientError as error:
            if _status(error) == 404:
                raise _gone() from error
            raise _failed("access_denied" if _status(error) == 403 else "fetch", error) from error
        except TransientError as error:
            raise _failed("fetch", error) from error

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._max_bytes:
            raise NotFetched(
                Unscored(
                    Outcome.UNREADABLE,
                    "over_byte_limit",
                    f"{size_bytes} bytes, the limit is {self._max_bytes} (SNIFFER_MAX_IMAGE_BYTES)",
                )
            )

    def _check_same(self, image: ListedObject, etag: str) -> None:
        if etag != image.etag:
            raise NotFetched(
                Unscored(
                    Outcome.GONE,
                    "replaced",
                    "replaced by other bytes since it was listed: the next scan that lists it scores those",
                )
            )

    # ---- listing --------------------------------------------------------------------------------------------

    def _listed(self, entry: dict[str, Any]) -> ListedObject:
        return ListedObject(
            self.name, entry["Key"], entry["ETag"].strip('"'), entry["Size"], entry["LastModified"].astimezone(UTC)
        )

    def _patiently(self, call: Callable[[], _T]) -> _T:
        retry = Retry("S3", "run again later", self._patience_s, first_pause_s=0.1, last_pause_s=_LAST_PAUSE_S)
        return retry.call(lambda: self._attempt(call))

    def _attempt(self, call: Callable[[], _T]) -> _T:
        try:
            return call()
        except (BotoCoreError, ClientError) as error:
            if _is_transient(error):
                raise RetryLater(one_line(error)) from error
            if isinstance(error, ClientError) and error.operation_name != "ListObjectsV2":
                raise
            raise self._explain(error) from error

    def _explain(self, error: BotoCoreError | ClientError) -> SnifferError:
        where = f"bucket {self.name!r} at {self._client.meta.endpoint_url}"
        if isinstance(error, NoCredentialsError | PartialCredentialsError):
            return SettingsError(f"no AWS credentials for {where}: set AWS_ACCESS_KEY_ID and its secret, or a role")
        if not isinstance(error, ClientError):
            return TransientError(f"cannot reach {where} ({one_line(error)}): check AWS_ENDPOINT_URL and the network")
        code = error.response["Error"]["Code"]
        if code == "NoSuchBucket" or _status(error) == 404:
            return SettingsError(f"{where} does not exist: check the name and AWS_ENDPOINT_URL")
        if _status(error) in (401, 403):
            return SettingsError(
                f"no permission to list {where} ({code}): the credentials need s3:ListBucket and s3:GetObject"
            )
        if _is_transient(error):
            return TransientError(f"{where} does not answer ({one_line(error)}): try again later")
        return SettingsError(f"{where} cannot be listed ({one_line(error)})")


def _is_transient(error: BotoCoreError | ClientError) -> bool:
    if isinstance(error, ClientError):
        return _status(error) >= 500 or error.response["Error"]["Code"] in _TRANSIENT_CODES
    return isinstance(error, HTTPClientError)


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _gone() -> NotFetched:
    return NotFetched(Unscored(Outcome.GONE, "deleted", "there is no such object (any more)"))


def _failed(code: str, error: Exception) -> NotFetched:
    return NotFetched(Unscored(Outcome.FAILED, code, one_line(error)))
