"""Files of a bucket that is ours to write: models and what belongs to them."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from botocore.exceptions import ClientError
from botocore.response import StreamingBody
from urllib3.exceptions import HTTPError

from sniffer.adapters.s3.bounds import broken
from sniffer.adapters.s3.client import BucketClient
from sniffer.adapters.s3.errors import NotFetched, Reaction, Refusal
from sniffer.core.errors import SettingsError, TransientError
from sniffer.core.records import ListedObject, Outcome, Unscored
from sniffer.core.retry import RetryLater

_CHUNK_BYTES = 1 << 20


class BucketFiles:
    """Puts and gets files by whole calls of boto3."""

    def __init__(self, client: BucketClient) -> None:
        self._client = client

    def create(self, key: str, data: bytes) -> bool:
        """Put a small object where none is; False when one is there. Of several creators at once one gets True."""
        try:
            self._write(
                key,
                lambda: self._client.whole_call(self._client.s3.put_object, Key=key, Body=data, IfNoneMatch="*"),
            )
        except _PreconditionFailed:
            return False
        return True

    def keep(self, key: str, data: bytes) -> str:
        """Put an object, which S3 takes only whole; returns the version that has it, "" where there are none.

        Where that key has these very bytes already, nothing is put.
        """
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        there = self._there(key, data)
        if there is not None:
            return there

        def put() -> str:
            answer = self._client.whole_call(self._client.s3.put_object, Key=key, Body=data, ChecksumSHA256=digest)
            return str(answer.get("VersionId") or "")

        versions: list[str] = []
        self._write(key, lambda: versions.append(put()))
        return versions[-1]

    def _there(self, key: str, data: bytes) -> str | None:
        """The version that has these bytes, by reading it: whoever was killed may have put them."""

        def get() -> str | None:
            answer = self._client.whole_call(self._client.s3.get_object, Key=key)
            with closing(answer["Body"]) as body:
                if answer.get("ContentLength") != len(data):
                    return None
                found = io.BytesIO()
                _copy(body, found)
            return str(answer.get("VersionId") or "") if found.getvalue() == data else None

        try:
            return self._client.patiently(get)
        except ClientError as error:
            refusal = Refusal.of(error)
            # Without the right to list, S3 says of what is not there that it is forbidden.
            if refusal.status in (403, 404):
                return None
            raise SettingsError(f"cannot read s3://{self._client.name}/{key} ({refusal})") from error

    def remove(self, key: str) -> int:
        """Delete every version of that key; returns how many there were. What is not there is deleted already."""
        where = f"s3://{self._client.name}/{key}"
        removed = 0
        try:
            for version in self._versions(key):
                self._client.patiently(
                    lambda version=version: self._client.whole_call(  # type: ignore[misc]
                        self._client.s3.delete_object, Key=key, VersionId=version
                    )
                )
                removed += 1
        except ClientError as error:
            raise SettingsError(
                f"cannot delete {where} ({Refusal.of(error)}): the credentials need s3:ListBucketVersions, "
                "s3:DeleteObject and s3:DeleteObjectVersion, and no object lock may hold it"
            ) from error
        return removed

    def _versions(self, key: str) -> list[str]:
        """Of that very key, delete markers too; "null" is the version of a bucket that has none."""
        found: list[str] = []
        after: dict[str, str] = {}
        while True:
            answer = self._client.patiently(
                lambda after=after: self._client.whole_call(  # type: ignore[misc]
                    self._client.s3.list_object_versions, Prefix=key, **after
                )
            )
            listed = [*answer.get("Versions", ()), *answer.get("DeleteMarkers", ())]
            found += [each["VersionId"] for each in listed if each["Key"] == key]
            if not answer.get("IsTruncated"):
                return found
            after = {"KeyMarker": answer["NextKeyMarker"], "VersionIdMarker": answer.get("NextVersionIdMarker", "")}

    def upload(self, path: Path, key: str) -> None:
        """Put a file of up to 5 GB; what was there is replaced as a whole."""

        def put() -> None:
            with path.open("rb") as file:
                self._client.whole_call(self._client.s3.put_object, Key=key, Body=file)

        self._write(key, put)

    def link(self, key: str, seconds: int) -> str:
        """A presigned address of the object; see Bucket.link."""
        asked = {"Bucket": self._client.name, "Key": key, **self._client.payer}
        return str(self._client.s3.generate_presigned_url("get_object", Params=asked, ExpiresIn=seconds))

    def download(self, listed: ListedObject, path: Path) -> None:
        """Write an object of any size to a file; raises NotFetched as Bucket.read does."""

        def get() -> None:
            answer = self._client.whole_call(self._client.s3.get_object, Key=listed.key, **self._client.payer)
            with closing(answer["Body"]) as body:
                if answer.get("ContentLength") != listed.size_bytes:
                    told = answer.get("ContentLength", "untold")
                    raise RetryLater(f"a file of {listed.size_bytes} bytes is listed, the answer's length is {told}")
                with path.open("wb") as file:
                    _copy(body, file)

        try:
            self._client.patiently(get)
        except ClientError as error:
            raise NotFetched(Refusal.of(error).verdict()) from error
        except TransientError as error:
            raise NotFetched(Unscored(Outcome.FAILED, "fetch", str(error))) from error

    def save(self, key: str, path: Path, most_bytes: int) -> None:
        """Write what is under that key to a file, whole; raises NotFetched as Bucket.read does, and for more bytes."""

        def get() -> int:
            answer = self._client.whole_call(self._client.s3.get_object, Key=key, **self._client.payer)
            length = answer.get("ContentLength")
            with closing(answer["Body"]) as body:
                if length is None:
                    raise RetryLater("an answer without a length, which may be cut off anywhere")
                if length <= most_bytes:
                    with path.open("wb") as file:
                        _copy(body, file)
                    if path.stat().st_size != length:
                        raise RetryLater(f"{path.stat().st_size} of {length} bytes came")
            return int(length)

        try:
            length = self._client.patiently(get)
        except ClientError as error:
            raise NotFetched(Refusal.of(error).verdict()) from error
        except TransientError as error:
            raise NotFetched(Unscored(Outcome.FAILED, "fetch", str(error))) from error
        if length > most_bytes:
            message = f"{length} bytes, {most_bytes} are the most that it may have"
            raise NotFetched(Unscored(Outcome.UNREADABLE, "over_byte_limit", message))

    def _write(self, key: str, put: Callable[[], object]) -> None:
        where = f"s3://{self._client.name}/{key}"
        try:
            self._client.patiently(put)
        except ClientError as error:
            refusal = Refusal.of(error)
            if refusal.status == 412:
                raise _PreconditionFailed from error
            if refusal.reaction is Reaction.INACCESSIBLE:
                raise SettingsError(
                    f"no permission to write {where} ({refusal}): the credentials need s3:PutObject"
                ) from error
            raise SettingsError(f"cannot write {where} ({refusal})") from error


def _copy(body: StreamingBody, file: BinaryIO) -> None:
    try:
        for chunk in body.iter_chunks(_CHUNK_BYTES):
            file.write(chunk)
    except HTTPError as error:
        raise RetryLater(f"the connection broke within a file ({broken(error)})") from error


class _PreconditionFailed(Exception):
    """There is an object under that key already."""
