"""The way of one GET, as boto3 resolved it: its URL, its headers, who signs it, and the connections that carry it.

A whole call of boto3 costs 1.1 ms of CPU, most of it for resolving the same way again; along a route it is 0.5 ms.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any
from urllib.parse import quote

from botocore.awsrequest import AWSRequest, AWSResponse
from urllib3.exceptions import HTTPError

from sniffer.adapters.s3.bounds import broken, content_length, read_body
from sniffer.adapters.s3.client import BucketClient
from sniffer.core.metered import AnswerBounds
from sniffer.core.retry import RetryLater

_OPERATION = "GetObject"
_OF_EACH_CALL = ("amz-sdk-", "x-amz-checksum-mode")
"""Headers that are boto3's own affair: its retries, and checksums that it would verify."""


class S3Answer:
    """An answer whose head is there, and whose body is not read yet."""

    def __init__(self, response: AWSResponse) -> None:
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._raw: Any = response.raw

    @property
    def content_length(self) -> int | None:
        """What the head says about the body's length."""
        return content_length(self.headers)

    @property
    def tells_its_end(self) -> bool:
        """Whether a body that is cut off can be told from a whole one."""
        return self.content_length is not None or bool(self._raw.chunked)

    def read(self, limit: int) -> bytes:
        """The body, at most `limit` bytes of it; raises RetryLater when the connection breaks, or all but stands."""
        try:
            return read_body(self._raw, limit)
        except (OSError, HTTPError, HTTPException) as error:
            raise RetryLater(f"the connection broke within an object ({broken(error)})") from error


class Route:
    """GETs of one bucket, of objects up to `max_bytes`. May be used by many threads."""

    def __init__(self, client: BucketClient, max_bytes: int) -> None:
        probe = _Probe(client)
        self._url = _Template(probe.request.url, probe.key)
        self._auth_path = _Template(probe.request.auth_path or "", probe.key)
        self._headers = {
            name: value for name, value in probe.request.headers.items() if not name.lower().startswith(_OF_EACH_CALL)
        }
        self._context = probe.request.context
        self._signer = probe.signer
        self._http = client.http
        self._bounds = AnswerBounds.of_body(max_bytes)

    def url(self, key: str) -> str:
        """Where that object is fetched."""
        return self._url.with_key(key)

    @contextmanager
    def get(self, key: str) -> Iterator[S3Answer]:
        """The answer to a GET of that key; raises BotoCoreError when none comes."""
        response = self._http.open(self._signed(key).prepare(), self._bounds)
        try:
            yield S3Answer(response)
        finally:
            # A connection whose body was read to its end is back in the pool already; another one is of no use.
            response.raw.close()

    def _signed(self, key: str) -> AWSRequest:
        auth_path = self._auth_path.with_key(key)
        request = AWSRequest("GET", self.url(key), dict(self._headers), auth_path=auth_path, stream_output=True)
        request.context = dict(self._context)
        self._signer.sign(_OPERATION, request)
        return request


class _Template:
    """A text with a place for a key, which is percent-encoded as S3 wants it to be signed."""

    def __init__(self, text: str, placeholder: str) -> None:
        self._before, self._key, self._after = text.partition(placeholder)

    def with_key(self, key: str) -> str:
        return f"{self._before}{quote(key, safe='/~') if self._key else ''}{self._after}"


class _Probe:
    """Has boto3 make a GET that it does not send, and looks at it."""

    def __init__(self, client: BucketClient) -> None:
        self.key = f"route-{secrets.token_hex(16)}"
        events = client.s3.meta.events
        handlers: dict[str, Callable[..., object]] = {
            f"request-created.s3.{_OPERATION}": self._created,
            f"before-sign.s3.{_OPERATION}": self._before_sign,
            f"before-send.s3.{_OPERATION}": self._not_sent,
        }
        for event, handler in handlers.items():
            events.register(event, handler)
        try:
            client.s3.get_object(Bucket=client.name, Key=self.key, **client.payer)
        finally:
            for event, handler in handlers.items():
                events.unregister(event, handler)

    def _created(self, request: AWSRequest, **_: object) -> None:
        self.request: Any = AWSRequest(request.method, request.url, dict(request.headers.items()))
        self.request.auth_path, self.request.context = request.auth_path, dict(request.context)

    def _before_sign(self, request_signer: Any, **_: object) -> None:
        self.signer = request_signer

    def _not_sent(self, request: Any, **_: object) -> AWSResponse:
        return AWSResponse(request.url, 200, {"Content-Length": "0"}, None)
