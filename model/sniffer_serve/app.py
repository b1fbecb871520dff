"""TensorFlow Serving's REST API as an ASGI application: paths to models, bodies to answers, errors to status codes."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import zlib
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from sniffer_serve.errors import Code, StatusError, invalid_argument
from sniffer_serve.models import ServedModels
from sniffer_serve.rest import error_answer, parse_object, parse_predict, predict_answer, request_tensors
from sniffer_serve.versions import parse_version

if TYPE_CHECKING:
    from sniffer_serve.servable import Servable

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_MODEL_PATH = r"/v1/models/(?P<model>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_RUN_PATH = re.compile(_MODEL_PATH + r":(?P<verb>classify|regress|predict)", re.IGNORECASE | re.ASCII)
_SHOW_PATH = re.compile(_MODEL_PATH + r"(?P<metadata>/metadata)?", re.IGNORECASE | re.ASCII)
_NO_MODEL_PATH = re.compile(r"/v1/models(/metadata)?", re.IGNORECASE)

_MAX_UNPACKED_BYTES = 100 << 20
_MAX_BODY_BYTES = 256 << 20
"""A batch of 1,000 of the fleet's images is 200 MB."""
_LONGEST_LENGTH = 18
"""Digits of a Content-Length."""
_NOT_FOUND_PAGE = b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"


@dataclass(frozen=True, slots=True)
class RequestedVersion:
    """The version that a path names, by number, by label, or neither."""

    model: str
    version: int | None
    label: str | None


class _ClientGone(Exception):
    """The client hung up before its request was complete; nobody is there to be answered."""


class RestApi:
    """The application. Bodies are parsed and models run in `executor`; at most `concurrency` runs at the same time.

    A run that waits longer than `timeout_s` for its turn ends as 504, as a run that takes longer does.
    """

    def __init__(
        self, models: ServedModels[Servable], executor: Executor, concurrency: int, timeout_s: float | None
    ) -> None:
        self._models = models
        self._executor = executor
        self._turns = threading.BoundedSemaphore(concurrency)
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        path = _full_path(scope)
        if not path.lower().startswith("/v1/"):
            await _answer(send, 404, _NOT_FOUND_PAGE, b"text/html")
            return
        try:
            body = await _read_body(scope, receive)
            status, answer = 200, await self._respond(scope, path, body)
        except StatusError as error:
            status, answer = error.code.http_status, error_answer(error.message)
        except _ClientGone:
            return
        except asyncio.CancelledError:  # the server ends, and this request has had its time
            status, answer = 503, error_answer("The server is shutting down")
        await _answer(send, status, answer, b"application/json")

    async def _respond(self, scope: Scope, path: str, body: bytes) -> bytes:
        method = scope["method"]
        if method == "GET" and (match := _SHOW_PATH.fullmatch(path)):
            target = _target(match)
            return self.metadata(target) if match["metadata"] else self.status(target)
        if method == "GET" and _NO_MODEL_PATH.fullmatch(path):
            raise invalid_argument("Missing model name in request.")
        if method == "POST" and (match := _RUN_PATH.fullmatch(path)):
            target, verb, packed = _target(match), match["verb"].lower(), _is_gzip(scope)
            run = asyncio.get_running_loop().run_in_executor
            return await run(self._executor, self.run, target, verb, body, packed)
        raise invalid_argument(f"Malformed request: {method} {path}")

    def status(self, target: RequestedVersion) -> bytes:
        """The body of the status URL; a label is not looked at, as in TensorFlow Serving."""
        lines = [
            {
                "version": str(line.version),
                "state": line.state.value,
                "status": {"error_code": line.code.name, "error_message": line.message},
            }
            for line in self._models.status(target.model, target.version)
        ]
        return _pretty({"model_version_status": lines})

    def metadata(self, target: RequestedVersion) -> bytes:
        """The body of the metadata URL."""
        with self._models.lease(target.model, target.version, target.label) as (number, servable):
            spec = {"name": target.model, "signature_name": "", "version": str(number)}
            return _pretty({"model_spec": spec, "metadata": {"signature_def": servable.metadata}})

    def run(self, target: RequestedVersion, verb: str, body: bytes, packed: bool) -> bytes:
        """Answer `:predict`, `:classify` or `:regress`; blocks. The body is parsed before the model is looked up."""
        body = unpack_gzip(body) if packed else body
        if verb != "predict":
            parse_object(body)
            raise StatusError(Code.UNIMPLEMENTED, f":{verb} is not implemented by this model server; use :predict")
        request = parse_predict(body)
        with self._models.lease(target.model, target.version, target.label) as (_, servable):
            signature = servable.spec(request.signature_name)
            tensors = request_tensors(request, signature)
            with self._turn():
                outputs = servable.predict(signature.name, tensors)
        return predict_answer(outputs, signature, in_rows=request.in_rows)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._turns.acquire(timeout=self._timeout_s):
            raise StatusError(Code.DEADLINE_EXCEEDED, "Timed out waiting for notification")
        try:
            yield
        finally:
            self._turns.release()


def _full_path(scope: Scope) -> str:
    """The path as it was sent, with its query: TensorFlow Serving matches both as one."""
    path: str = scope["raw_path"].decode("ascii", "replace")
    query: bytes = scope["query_string"]
    return f"{path}?{query.decode('ascii', 'replace')}" if query else path


def _target(match: re.Match[str]) -> RequestedVersion:
    digits, label = match["version"], match["label"]
    version = None if digits is None else parse_version(digits)
    if digits is not None and version is None:
        raise invalid_argument(f"Failed to convert version: {digits} to numeric.")
    return RequestedVersion(unquote(match["model"]), version, None if label is None else unquote(label))


def _is_gzip(scope: Scope) -> bool:
    return any(name == b"content-encoding" and b"gzip" in value for name, value in scope["headers"])


def unpack_gzip(body: bytes) -> bytes:
    """Unpack a gzip body; b"" for one that is broken or unpacks to over 100 MiB, as TensorFlow Serving has it."""
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        unpacked = unpacker.decompress(body, _MAX_UNPACKED_BYTES)
    except zlib.error:
        return b""
    return unpacked if unpacker.eof else b""


async def _read_body(scope: Scope, receive: Receive) -> bytes:
    told = dict(scope["headers"]).get(b"content-length", b"0")
    if len(told) > _LONGEST_LENGTH or int(told) > _MAX_BODY_BYTES:
        raise _too_large()
    chunks, length = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientGone
        chunks.append(message.get("body", b""))
        length += len(chunks[-1])
        if length > _MAX_BODY_BYTES:
            raise _too_large()
        if not message.get("more_body", False):
            return b"".join(chunks)


def _too_large() -> StatusError:
    return invalid_argument(f"The request is larger than {_MAX_BODY_BYTES} bytes")


async def _answer(send: Send, status: int, body: bytes, content_type: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode("ascii"))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _pretty(document: object) -> bytes:
    return json.dumps(document, indent=1).encode("ascii")
