"""Bounds on what a store may send: bytes, time, headers. boto3 reads whatever comes, for as long as it comes."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from http.client import HTTPException
from typing import Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPResponse,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
    AWSResponse,
)
from botocore.exceptions import ConnectionClosedError, HTTPClientError
from urllib3.exceptions import HTTPError

from sniffer.core.metered import AnswerBounds, Meter, MeteredAnswer, OutOfBounds
from sniffer.core.text import one_line

MOST_EARLY_BYTES = 1 << 14
"""Of a `100 Continue`, which boto3 reads byte by byte."""
MOST_REFUSAL_BYTES = 1 << 16
MOST_ENTRY_BYTES = 6 * 1024 + 2048
"""One key of 1,024 bytes, each escaped for XML (`&quot;`) or a URL (`%22`), and what a listing tells of it."""
MOST_DOCUMENT_BYTES = 1000 * MOST_ENTRY_BYTES + (1 << 16)
"""A page of a listing, the longest of S3's answers but objects."""
MOST_DOCUMENT_S = 120.0
"""From the first byte to the last one of an answer that is no object."""
_LONGEST_LENGTH = 19
"""Digits; Python reads at most 4,300, and no store keeps more than 2**63 bytes."""
_MOST_SMALL_PIECES = 1000
_SMALL_PIECE_BYTES = 512
"""Pieces are a network's packets, or chunks of some server. Each costs some 10 µs, however small it is."""


_UNBOUNDED = AnswerBounds()
_bounds: ContextVar[AnswerBounds] = ContextVar("bounds", default=_UNBOUNDED)


class BrokenAnswer(HTTPClientError):  # type: ignore[misc]
    """No answer that S3 gives; boto3 and we treat it as a connection that broke, which may pass."""

    fmt = "{error}"


def content_length(headers: Mapping[str, str]) -> int | None:
    """What the head says about the body's length, None when it says nothing; raises BrokenAnswer for nonsense."""
    told = headers.get("Content-Length")
    if told is None:
        return None
    values = {value.strip() for value in told.split(",", 16)}
    text = values.pop()
    if values or not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST_LENGTH):
        raise BrokenAnswer(error=f"an answer whose Content-Length is {one_line(told, 60)!r}")
    return int(text)


class BoundedSession:
    """A client's HTTP session, whose answers are read within bounds. May be used by many threads."""

    def __init__(self, session: Any) -> None:
        # boto3 has no public names for these.
        pools = {"http": _Pool, "https": _TlsPool}
        session._pool_classes_by_scheme = pools
        session._manager.pool_classes_by_scheme = pools
        self._session = session

    def send(self, request: Any) -> AWSResponse:
        """The answer, as boto3 wants it: with its body, unless it is an object's; raises HTTPClientError."""
        is_streamed = request.stream_output
        request.stream_output = True
        bounds = AnswerBounds.of_body(MOST_DOCUMENT_BYTES)
        response = self.open(request, _UNBOUNDED if is_streamed else replace(bounds, duration_s=MOST_DOCUMENT_S))
        if is_streamed and response.status_code < 300:
            return response
        limit = MOST_DOCUMENT_BYTES if response.status_code < 300 else MOST_REFUSAL_BYTES
        try:
            body = _whole_body(response, limit)
        finally:
            response.raw.close()
        return AWSResponse(response.url, response.status_code, response.headers, _ReadBody(body))

    def open(self, request: Any, bounds: AnswerBounds) -> AWSResponse:
        """The answer whose body is not read yet; raises HTTPClientError."""
        token = _bounds.set(bounds)
        try:
            response = self._session.send(request)
        except ConnectionClosedError as error:
            raise BrokenAnswer(error=f"no answer ({_first_cause(error)})") from error
        finally:
            _bounds.reset(token)
        try:
            content_length(response.headers)
        except BrokenAnswer:
            response.raw.close()
            raise
        return response

    def close(self) -> None:
        """Close every connection."""
        self._session.close()


def read_body(raw: Any, limit: int) -> bytes:
    """At most `limit` bytes of an answer's body; raises OutOfBounds, or OSError or HTTPError when it breaks off."""
    pieces: list[bytes] = []
    size_bytes = 0
    while size_bytes < limit and (piece := raw.read1(limit - size_bytes)):
        pieces.append(piece)
        size_bytes += len(piece)
        if len(pieces) > _MOST_SMALL_PIECES + size_bytes // _SMALL_PIECE_BYTES:
            raise OutOfBounds(f"an answer in crumbs: {size_bytes} bytes in {len(pieces)} pieces")
    return b"".join(pieces)


def _whole_body(response: AWSResponse, limit: int) -> bytes:
    try:
        body = read_body(response.raw, limit + 1)
    except (OSError, HTTPError, HTTPException) as error:
        raise BrokenAnswer(error=f"an answer that broke off ({broken(error)})") from error
    if len(body) > limit:
        raise BrokenAnswer(error=f"an answer (HTTP {response.status_code}) of more than {limit} bytes")
    length = None if response.raw.chunked else content_length(response.headers)
    if body and length not in (None, len(body)):  # the answer to a HEAD tells the length of what it does not send
        raise BrokenAnswer(error=f"{len(body)} of {length} bytes came")
    return body


class _ReadBody(io.BytesIO):
    """A body that was read already, as boto3 wants to read it."""

    def stream(self, *_: object) -> Iterator[bytes]:
        yield self.read()


def broken(error: Exception) -> str:
    """Why an answer broke off, in one line: what urllib3 wraps says more than what wraps it."""
    cause = error.args[-1] if error.args and isinstance(error.args[-1], Exception) else error
    text = one_line(cause)
    return text if isinstance(cause, OutOfBounds) or not text else f"{type(cause).__name__}: {text}"


def _first_cause(error: ConnectionClosedError) -> str:
    cause = error.kwargs.get("error")
    return broken(cause) if isinstance(cause, Exception) else one_line(error)


# ---- on the wire ----------------------------------------------------------------------------------------------------


class _Response(MeteredAnswer, AWSHTTPResponse):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"status_tuple": None} | kwargs)

    def body_bounds(self) -> AnswerBounds:
        return _bounds.get()


class _MeteredSocket:
    """A socket, as whoever waits for a `100 Continue` reads it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, *_: object) -> io.RawIOBase:
        return _EndingLines(self._sock.makefile("rb", buffering=0), AnswerBounds(MOST_EARLY_BYTES))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class _EndingLines(Meter):
    """Lines, of which there is an end: boto3 would wait for an empty one for ever."""

    def readline(self, size: int | None = -1) -> bytes:
        line = super().readline(size)
        if not line:
            raise OutOfBounds("an answer that ends within its head")
        return line


class _Bounded:
    """Mixed into boto3's connections."""

    response_class: Any = _Response
    sock: Any
    _response_received: bool

    def _handle_expect_response(self, message_body: Any) -> None:
        sock, self.sock = self.sock, _MeteredSocket(self.sock)
        try:
            super()._handle_expect_response(message_body)  # type: ignore[misc]
        finally:
            self.sock = sock
        if self._response_received:
            self.response_class = partial(_Response, **self.response_class.keywords)


class _Connection(_Bounded, AWSHTTPConnection):  # type: ignore[misc]
    pass


class _TlsConnection(_Bounded, AWSHTTPSConnection):  # type: ignore[misc]
    pass


class _Pool(AWSHTTPConnectionPool):  # type: ignore[misc]
    ConnectionCls = _Connection


class _TlsPool(AWSHTTPSConnectionPool):  # type: ignore[misc]
    ConnectionCls = _TlsConnection
