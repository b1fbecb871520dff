"""What stands in for S3, the model server and consumers where a benchmark measures the rest: each answers at once.

`python -m sniffer_local.bench_servers s3 PORT BUCKET KEYS LATENCY_MS [IMAGE]`: a bucket of that many keys, computed and
not stored; each object is the image's bytes with its number behind, or one byte of nothing to fetch.
`… model PORT`: the score 0.1 for every picture. `… acknowledge ENDPOINT`: a consumer that says at once that all is
stored, and stores nothing.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from sniffer.core.model_records import PIXELS_SIGNATURE
from sniffer.core.records import Outcome
from sniffer.scan.messages import MAX_HELD, PROTOCOL, Done, Heartbeat, Hello, ScanFinished, Welcome, Work
from sniffer.scan.wire import ConsumerSocket

MODIFIED, MODIFIED_HTTP = "2026-01-01T00:00:00.000Z", "Thu, 01 Jan 2026 00:00:00 GMT"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_SUFFIX_BYTES = 8

Answer = tuple[str, list[str], bytes]
"""The status, header lines, and the body."""


def key(number: int) -> str:
    """The key of the object of that number, from 0."""
    return f"k/{number:09}.jpg"


class ComputedBucket:
    """The bucket."""

    def __init__(self, bucket: str, keys: int, image: bytes) -> None:
        self._bucket = bucket
        self._keys = range(keys)
        self._image = image

    @property
    def _size(self) -> int:
        return len(self._image) + _SUFFIX_BYTES if self._image else 1

    def answer(self, target: str, _: bytes) -> Answer:
        """To a GET, of a page or of an object."""
        parts = urlsplit(target)
        if parts.path.strip("/") == self._bucket:
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            return "200 OK", ["Content-Type: application/xml"], self._page(asked).encode()
        number = int(unquote(parts.path).rpartition("/")[2].removesuffix(".jpg"))
        headers = [f'ETag: "{number:032X}"', f"Last-Modified: {MODIFIED_HTTP}", "Content-Type: image/jpeg"]
        body = self._image + number.to_bytes(_SUFFIX_BYTES, "big") if self._image else b"x"
        return "200 OK", headers, body

    def _page(self, asked: dict[str, str]) -> str:
        prefix, after = asked.get("prefix", ""), asked.get("start-after", "")
        begin = bisect_left(self._keys, prefix, key=key)
        if after:
            begin = max(begin, bisect_right(self._keys, after, key=key))
        begin = int(asked.get("continuation-token", begin))
        end = bisect_right(self._keys, f"{prefix}\U0010fffd", key=key)
        gathers = "delimiter" in asked and not prefix
        last = begin if gathers else min(end, begin + int(asked.get("max-keys", 1000)))
        entries = "".join(
            f"<Contents><Key>{key(number)}</Key><LastModified>{MODIFIED}</LastModified>"
            f"<ETag>&quot;{number:032X}&quot;</ETag><Size>{self._size}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
            for number in range(begin, last)
        )
        is_cut = last < end and not gathers
        fields = {
            "Name": self._bucket,
            "Prefix": prefix,
            "MaxKeys": asked.get("max-keys", "1000"),
            "EncodingType": "url",
            "KeyCount": "1" if gathers else str(last - begin),
            "IsTruncated": "true" if is_cut else "false",
            **({"StartAfter": after} if after else {}),
            **({"Delimiter": asked["delimiter"]} if "delimiter" in asked else {}),
            **({"NextContinuationToken": str(last)} if is_cut else {}),
        }
        head = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
        folders = "<CommonPrefixes><Prefix>k/</Prefix></CommonPrefixes>" if gathers else ""
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult>{head}{entries}{folders}</ListBucketResult>'


def model(target: str, body: bytes) -> Answer:
    """What TensorFlow Serving says of a model, and its prediction."""
    if target.endswith("/metadata"):
        signature: dict[str, object] = {PIXELS_SIGNATURE: {"inputs": {"pixels": {}}, "outputs": {"score": {}}}}
        document: dict[str, object] = {
            "model_spec": {"name": "bench", "signature_name": "", "version": target.split("/")[-2]},
            "metadata": {"signature_def": {"signature_def": signature}},
        }
    else:
        document = {"predictions": [0.1] * body.count(b'"b64"')}
    return "200 OK", ["Content-Type: application/json"], json.dumps(document).encode()


class HttpStandIn(asyncio.Protocol):
    """HTTP/1.1 as a well-behaved client speaks it, one request after the other."""

    def __init__(self, answer: Callable[[str, bytes], Answer], latency_s: float) -> None:
        self._answer = answer
        self._latency_s = latency_s
        self._received = bytearray()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of create_server
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """A piece of a request; once it is whole, it is answered."""
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        length = _LENGTH.search(self._received, 0, head_end)
        body_end = head_end + 4 + (int(length[1]) if length else 0)
        if len(self._received) < body_end:
            return
        target = bytes(self._received[:head_end]).split(b" ", 2)[1].decode()
        body = bytes(self._received[head_end + 4 : body_end])
        del self._received[:body_end]
        asyncio.get_running_loop().call_later(self._latency_s, self._send, target, body)

    def _send(self, target: str, body: bytes) -> None:
        status, headers, content = self._answer(target, body)
        lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(content)}", "", ""]
        self._transport.write("\r\n".join(lines).encode() + content)


async def _serve(port: int, answer: Callable[[str, bytes], Answer], latency_s: float = 0.0) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: HttpStandIn(answer, latency_s), "127.0.0.1", port)
    await server.serve_forever()


def acknowledge(endpoint: str) -> None:
    """Take images until the scan ends."""
    done: list[tuple[int, Outcome]] = []
    session, is_over = "", False
    with ConsumerSocket(endpoint, b"acknowledges") as socket:
        socket.send(Hello(PROTOCOL, "acknowledges", MAX_HELD))
        while not is_over:
            socket.wait(1.0)
            for message in socket.receive():
                if isinstance(message, Welcome):
                    session = message.session
                elif isinstance(message, Work):
                    done.append((message.number, Outcome.PREDICTED))
                elif isinstance(message, Heartbeat):
                    socket.send(Heartbeat(session))
                is_over = is_over or isinstance(message, ScanFinished)
            if done:
                socket.send(Done(session, tuple(done), len(done)))
                done = []


def main(argv: Sequence[str] = sys.argv[1:]) -> int:
    """Serve until killed, or acknowledge until the scan's end."""
    kind, place, *rest = argv
    if kind == "acknowledge":
        acknowledge(place)
    elif kind == "model":
        asyncio.run(_serve(int(place), model))
    else:
        bucket, keys, latency_ms, *image = rest
        computed = ComputedBucket(bucket, int(keys), Path(image[0]).read_bytes() if image else b"")
        asyncio.run(_serve(int(place), computed.answer, float(latency_ms) / 1000))
    return 0


if __name__ == "__main__":
    sys.exit(main())
