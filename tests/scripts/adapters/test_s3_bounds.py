"""Answers without end, of megabytes of headers, of lengths that cannot be: each ends soon, and names the store."""

from __future__ import annotations

import re
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from support.lying_s3 import MODIFIED, LyingS3, Page, Stored, entry

from sniffer.adapters.s3 import bounds
from sniffer.adapters.s3.bucket import Bucket
from sniffer.adapters.s3.documents import MOST_TAGS
from sniffer.adapters.s3.errors import NotFetched
from sniffer.adapters.s3.fetching import Fetcher
from sniffer.adapters.s3.pages import BrokenPage, parse_page
from sniffer.core import metered
from sniffer.core.errors import SnifferError, TransientError
from sniffer.core.records import ListedObject

BODY = b"body"
ETAG = Stored(BODY).etag
LISTED = ListedObject("bkt", "a.jpg", ETAG, len(BODY), MODIFIED, "STANDARD")
LONGEST_S = 8.0
MOST_MEMORY_KIB = 100 << 10

Speak = Callable[[socket.socket], None]
Ask = Callable[[Bucket, Path], object]


@contextmanager
def served(speak: Speak) -> Iterator[str]:
    """The URL of a server that answers each request by `speak`, with a connection of its own."""

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # the test is over
            threading.Thread(target=converse, args=(connection,), daemon=True).start()

    def converse(connection: socket.socket) -> None:
        with connection, suppress(OSError):  # the client leaves
            connection.settimeout(20)
            connection.recv(1 << 16)
            speak(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def endless(begin: bytes, piece: bytes, pause_s: float = 0.0) -> Speak:
    """Sends `begin`, then `piece` for ever: at the speed of the wire, or with pauses."""
    pieces = piece if pause_s else piece * max(1, (1 << 16) // len(piece))

    def speak(connection: socket.socket) -> None:
        connection.sendall(begin)
        while True:
            connection.sendall(pieces)
            time.sleep(pause_s)

    return speak


def says(answer: bytes) -> Speak:
    return lambda connection: connection.sendall(answer)


def head(*headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f'ETag: "{ETAG}"', *headers]
    return "".join(f"{line}\r\n" for line in lines).encode()


def body(*headers: str, status: str = "200 OK") -> bytes:
    return head("Connection: close", *headers, status=status) + b"\r\n"


CHUNKED = "Transfer-Encoding: chunked"
ENDLESS: dict[str, Speak] = {
    "a body without a length": endless(body(), b" "),
    "a body of terabytes": endless(body("Content-Length: 9999999999999"), b" "),
    "a refusal": endless(body(status="403 Forbidden"), b"<"),
    "a fault": endless(body("Content-Length: 9999999999999", status="503 Slow Down"), b"<"),
    "a redirection": endless(body("Location: /", status="301 Moved"), b"<"),
    "chunks": endless(body(CHUNKED), b"8\r\nbodybody\r\n"),
    "a chunk of a negative length": endless(body(CHUNKED) + b"-1\r\n", b"b"),
    "a chunk's length": endless(body(CHUNKED), b"0"),
    "a chunk's extension": endless(body(CHUNKED) + b"4;", b"e"),
    "trailers": endless(body(CHUNKED) + b"4\r\nbody\r\n0\r\n", b"a: b\r\n"),
    "headers": endless(head(), b"a: b\r\n"),
    "a header": endless(head() + b"a: ", b"b"),
    "headers of 60 kB": endless(head(), b"a: " + b"b" * 60_000 + b"\r\n"),
    "the status line": endless(b"HTTP/1.1 200 ", b"O"),
    "no line at all": endless(b"", b"x"),
    "continuations": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a dripping body": endless(body("Content-Length: 4000"), b" ", 0.05),
    "dripping chunks": endless(body(CHUNKED), b"1\r\nb\r\n", 0.05),
    "a dripping refusal": endless(body(status="404 Not Found"), b"<", 0.05),
    "a dripping head": endless(b"HTTP/1.1 200 OK\r\na: ", b"b", 0.05),
    "dripping continuations": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.05),
}
LENGTHS: dict[str, Speak] = {
    "of 5,000 digits": says(body(f"Content-Length: {'9' * 5000}") + BODY),
    "of 4,000 digits": says(body(f"Content-Length: {'9' * 4000}") + BODY),
    "negative": says(body("Content-Length: -4") + BODY),
    "two": says(body("Content-Length: 4", "Content-Length: 5") + BODY),
    "two in one": says(body("Content-Length: 4, 5") + BODY),
    "words": says(body("Content-Length: four") + BODY),
    "in other digits": says(body("Content-Length: \xb2\xb3") + BODY),
    "as Python writes it": says(body("Content-Length: 1_0") + BODY),
    "nothing": says(body("Content-Length: ") + BODY),
    "beside chunks": says(body("Content-Length: 9", CHUNKED) + b"4\r\nbody\r\n1\r\nb\r\n0\r\n\r\n"),
    "more than comes": says(body("Content-Length: 9") + BODY),
}
FLOODS: dict[str, Speak] = {
    "5,000 headers": says(head() + b"a: b\r\n" * 5000 + b"\r\n"),
    "a header of 3 MB": says(head() + b"a: " + b"b" * 3_000_000 + b"\r\n\r\n"),
    "a status of many digits": says(b"HTTP/1.1 " + b"2" * 5000 + b" OK\r\n\r\n"),
    "a status of words": says(b"HTTP/1.1 OK OK\r\n\r\n"),
    "another protocol": says(b"SSH-2.0-OpenSSH_9.2p1\r\n"),
    "nothing at all": says(b""),
    "half a head": says(b"HTTP/1.1 200 OK\r\nContent-"),
    "a continuation and no more": says(b"HTTP/1.1 100 Continue\r\n"),
    "moments that cannot be": says(
        body("Content-Length: 9", f"Last-Modified: Mon, 01 Jan {'9' * 5000} 00:00:00 GMT", "x-amz-missing-meta: many")
        + BODY
    ),
}
SPEAKERS = {
    f"{kind}: {name}": speak
    for kind, speakers in {"endless": ENDLESS, "length": LENGTHS, "flood": FLOODS}.items()
    for name, speak in speakers.items()
}


def upload(bucket: Bucket, folder: Path) -> object:
    """More than a megabyte: boto3 waits for a `100 Continue`."""
    (folder / "file").write_bytes(bytes(2 << 20))
    bucket.upload(folder / "file", "version/file")
    return None


def fetcher(bucket: Bucket) -> Fetcher:
    """That of `check`, without the listing that `check` asks for."""
    return Fetcher(bucket._client, bucket._listing, 1000)


ASKS: dict[str, Ask] = {
    "listing": lambda bucket, _: list(bucket.pages("")),
    "check": lambda bucket, _: bucket.check(),
    "fetch": lambda bucket, _: fetcher(bucket).fetch(LISTED),
    "read": lambda bucket, _: fetcher(bucket).read("a.jpg").data,
    "download": lambda bucket, folder: bucket.download(LISTED, folder / "a.jpg"),
    "create": lambda bucket, _: bucket.create("version/claim", BODY),
    "upload": upload,
}


@pytest.fixture
def tight(monkeypatch: pytest.MonkeyPatch, aws_variables: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The bounds are of the same kind as ours, and sooner reached."""
    monkeypatch.setattr(metered, "DRIP_GRACE_S", 0.2)
    monkeypatch.setattr(metered, "MOST_HEAD_BYTES", 1 << 18)
    monkeypatch.setattr(bounds, "MOST_DOCUMENT_BYTES", 1 << 19)
    return aws_variables


@pytest.mark.sampled(6)  # seven questions: each speaker is heard, and each question asked, in every run
@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("speaker", SPEAKERS)
def test_an_answer_without_bounds_ends_soon_and_names_the_store(
    tight: pytest.MonkeyPatch, tmp_path: Path, speaker: str, ask: str
) -> None:
    with served(SPEAKERS[speaker]) as url:
        tight.setenv("AWS_ENDPOINT_URL", url)
        bucket = Bucket("bkt", patience_s=0, max_bytes=1000)
        began_at = time.monotonic()
        try:
            found = ASKS[ask](bucket, tmp_path)
        except SnifferError as error:
            is_verdict = isinstance(error, NotFetched) and error.verdict.code == "over_byte_limit"
            assert is_verdict or ("bkt" in str(error) and url in str(error)), error
            assert len(str(error)) < 1000 and str(error).isprintable()
        else:
            # What was asked for came whole, whatever came with it.
            assert found in (BODY, True, None), found
        assert time.monotonic() - began_at < LONGEST_S


def test_a_listing_without_end_costs_megabytes_and_seconds(aws_variables: pytest.MonkeyPatch) -> None:
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began_at = time.process_time()
    with served(ENDLESS["a body without a length"]) as url:
        aws_variables.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(TransientError, match=f"more than {bounds.MOST_DOCUMENT_BYTES} bytes") as caught:
            list(Bucket("bkt", patience_s=0, max_bytes=1000).pages(""))
    assert re.search(f"bucket 'bkt' at {url}", str(caught.value))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < MOST_MEMORY_KIB
    assert time.process_time() - began_at < 3


def test_a_listing_that_comes_too_slowly_meets_a_deadline(
    aws_variables: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MOST_DOCUMENT_S", 0.3)
    # Faster than what drips.
    with served(endless(body(), b" " * 8192, 0.02)) as url:
        aws_variables.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(TransientError, match="an answer that drips: .* bytes in 0 s"):
            list(Bucket("bkt", patience_s=0, max_bytes=1000).pages(""))


def test_connections_are_kept(lying_s3: LyingS3) -> None:
    for number in range(5):
        lying_s3.put(f"{number}.jpg")
    lying_s3.page_size = 1
    bucket = Bucket("bkt", patience_s=0, max_bytes=1000)
    bucket.check()
    for page in bucket.pages(""):
        assert bucket.fetch(page[0]) == BODY
    assert len({request.peer for request in lying_s3.requests}) == 2, "one stays with the object that `check` left"


def page_of(*entries: str) -> bytes:
    return Page("bkt", "", list(entries)).xml()


def test_the_longest_page_of_a_listing_is_read() -> None:
    keys = [f"{number:04d}" + "%22" * 1020 for number in range(1000)]
    stored = Stored(BODY, listed_xml="<StorageClass>INTELLIGENT_TIERING</StorageClass>" + OWNER)
    entries = [entry("key", stored).replace("<Key>key<", f"<Key>{key.replace('%22', '&quot;')}<") for key in keys]
    document = page_of(*entries)
    assert 6_000_000 < len(document) < bounds.MOST_DOCUMENT_BYTES
    assert len(parse_page(document, "bkt", "").keys) == 1000


OWNER = (
    "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>"
    f"<Owner><DisplayName>{'n' * 64}</DisplayName><ID>{'f' * 64}</ID></Owner><RestoreStatus>"
    "<IsRestoreInProgress>false</IsRestoreInProgress><RestoreExpiryDate>2027-01-01T00:00:00.000Z</RestoreExpiryDate>"
    "</RestoreStatus>"
)
ENTITIES = b'<!DOCTYPE a [<!ENTITY a "' + b"a" * 10_000 + b'">]><a>' + b"&a;" * 100_000 + b"</a>"


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"<a>" * 1_200_000 + b"</a>" * 1_200_000, f"2400000 tags, .* at most {MOST_TAGS}"),
        (page_of("<Contents/>" * 800_000), "tags"),
        (page_of("<!--x-->" * 800_000), "tags"),
        (ENTITIES, "a document type"),
        (page_of("<a>" * 30_000 + "</a>" * 30_000), "KeyCount|says that it has"),
        (page_of("<a " + " ".join(f'a{n}=""' for n in range(100_000)) + "/>"), "says that it has"),
        (page_of("<a>" + "&amp;" * 1_200_000 + "</a>"), "says that it has"),
        ("<ListBucketResult/>".encode("utf-16"), "zero bytes"),
        (page_of("x" * 6_000_000), "says that it has"),
    ],
)
def test_a_listing_that_would_cost_seconds_is_refused(document: bytes, why: str) -> None:
    began_at = time.process_time()
    with pytest.raises(BrokenPage, match=why):
        parse_page(document, "bkt", "")
    assert time.process_time() - began_at < 2
