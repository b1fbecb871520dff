"""Answers that no S3 gives, from whatever stands in between: each is a fault that passes, never a traceback."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest
from support.http_server import HttpAnswer
from support.lying_s3 import XML, LyingS3, Page, error_answer

from sniffer.adapters.s3.bucket import Bucket
from sniffer.adapters.s3.errors import NotFetched
from sniffer.core import metered
from sniffer.core.errors import TransientError
from sniffer.core.records import ListedObject, Outcome, Unscored

ETAG = "841a2d689ad86bd1611447453c22c6fc"
"""MD5 of `body`."""


@pytest.fixture
def opened(lying_s3: LyingS3) -> tuple[Bucket, ListedObject]:
    lying_s3.put("a.jpg")
    bucket = Bucket("bkt", patience_s=0.3, max_bytes=1000)
    bucket.check()
    return bucket, next(bucket.pages(""))[0]


def verdict(bucket: Bucket, image: ListedObject) -> Unscored:
    with pytest.raises(NotFetched) as caught:
        bucket.fetch(image)
    return caught.value.verdict


@pytest.mark.parametrize("encoding", ["gbk", "utf-32", "bogus"])
@pytest.mark.parametrize("status", [403, 404, 502])
def test_a_page_in_an_encoding_that_nobody_knows_is_a_fault_that_passes(
    lying_s3: LyingS3, opened: tuple[Bucket, ListedObject], encoding: str, status: int
) -> None:
    page = f'<?xml version="1.0" encoding="{encoding}"?><html><body>bad gateway</body></html>'.encode()
    lying_s3.give_as = lambda _key, _true: HttpAnswer(status, page, XML)
    found = verdict(*opened)
    assert (found.outcome, found.code) == (Outcome.FAILED, "fetch")
    assert "not an answer of S3" in found.message
    with pytest.raises(TransientError, match="not an answer of S3"):
        opened[0].check()


def test_s3s_words_in_a_200_are_a_refusal_like_any_other(
    lying_s3: LyingS3, opened: tuple[Bucket, ListedObject], aws_variables: pytest.MonkeyPatch
) -> None:
    def with_200(answer: HttpAnswer) -> HttpAnswer:
        return HttpAnswer(200, answer.body, answer.headers)

    lies = iter([with_200(error_answer(503, "SlowDown"))] * 5)
    lying_s3.give_as = lambda _key, true: next(lies, true)
    patient = Bucket("bkt", patience_s=30, max_bytes=1000)
    patient.check("", reads_all=False)
    assert patient.fetch(opened[1]) == b"body", "the listing is no witness against the answer of a moment"
    for code, outcome, ours in [
        ("SlowDown", Outcome.FAILED, "fetch"),
        ("NoSuchKey", Outcome.FAILED, "fetch"),
        ("AccessDenied", Outcome.INACCESSIBLE, "access_denied"),
    ]:
        lying_s3.give_as = lambda _key, _true, code=code: with_200(error_answer(404, code))  # type: ignore[misc]
        found = verdict(*opened)
        assert (found.outcome, found.code) == (outcome, ours) and code in found.message


def test_a_refusal_that_breaks_off_is_a_fault_that_passes(
    lying_s3: LyingS3, opened: tuple[Bucket, ListedObject]
) -> None:
    lying_s3.give_as = lambda _key, _true: HttpAnswer(403, b"<Err", XML, content_length=100)
    bucket, image = opened
    found = verdict(bucket, image)
    assert (found.outcome, found.code) == (Outcome.FAILED, "fetch")
    assert bucket.inaccessible_code(image) == ""
    # The second as boto3's older releases read it.
    with pytest.raises(TransientError, match="not an answer of S3|the connection broke"):
        bucket.check()


@pytest.mark.parametrize(
    "moment", ["Mon, 01 Jan 2024 00:00:00 +9999999999999999999", "Mon, 01 Jan 2024 00:00:00 +9999"]
)
def test_a_time_that_cannot_be_says_nothing(
    lying_s3: LyingS3, opened: tuple[Bucket, ListedObject], moment: str
) -> None:
    lying_s3.give_as = lambda _key, true: HttpAnswer(200, true.body, [("ETag", f'"{ETAG}"'), ("Last-Modified", moment)])
    assert opened[0].fetch(opened[1]) == b"body"


@pytest.mark.parametrize(
    ("told", "lie"),
    [
        ("2026-11-20T06:00:00.000Z", "0001-01-01T00:00:00+05:00"),
        ("2026-11-20T06:00:00.000Z", "9999-12-31T23:59:59-05:00"),
        ("2026-11-20T06:00:00.000Z", "99999999999999999999"),
        ("2026-11-20T06:00:00.000Z", "1e400"),
        ("<Size>4<", "<Size>99999999999999999999<"),
        ("<Size>4<", "<Size>-1<"),
    ],
)
def test_a_listing_with_sizes_and_times_that_cannot_be_is_none(
    lying_s3: LyingS3, opened: tuple[Bucket, ListedObject], told: str, lie: str
) -> None:
    def listed(_asked: object, page: Page) -> Page:
        return replace(page, entries=[entry.replace(told, lie) for entry in page.entries])

    lying_s3.list_as = listed
    with pytest.raises(TransientError, match="the listing has (no size or time|the size)"):
        list(opened[0].pages(""))


def test_who_may_list_only_the_prefix_itself_scans_on_when_an_object_differs(
    lying_s3: LyingS3, opened: tuple[Bucket, ListedObject]
) -> None:
    # A policy with the condition StringEquals s3:prefix "" forbids to look one key up.
    lying_s3.list_as = lambda asked, page: error_answer(403, "AccessDenied") if asked.prefix else page
    lying_s3.put("a.jpg", b"others")
    found = verdict(*opened)
    assert (found.outcome, found.code) == (Outcome.FAILED, "not_as_listed")
    assert "AccessDenied" in found.message


# ---- bodies ---------------------------------------------------------------------------------------------------------

Speak = Callable[[socket.socket], None]


@contextmanager
def raw_server(speak: Speak) -> Iterator[str]:
    """The URL of a server that gives an empty listing to its first connection, and `speak` to each later one."""
    page = Page("bkt", "", []).xml()
    listing = f"HTTP/1.1 200 OK\r\nContent-Length: {len(page)}\r\nConnection: close\r\n\r\n".encode() + page

    def serve(listener: socket.socket) -> None:
        answer: Speak = lambda connection: connection.sendall(listing)  # noqa: E731
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # the test is over
            threading.Thread(target=converse, args=(connection, answer), daemon=True).start()
            answer = speak

    def converse(connection: socket.socket, answer: Speak) -> None:
        with connection, suppress(OSError):  # the client leaves
            connection.recv(65536)
            answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def slow_pieces(connection: socket.socket) -> None:
    connection.sendall(f'HTTP/1.1 200 OK\r\nETag: "{ETAG}"\r\nContent-Length: 4\r\n\r\n'.encode())
    for byte in b"bod":
        connection.sendall(bytes([byte]))
        time.sleep(0.15)
    time.sleep(60)


def endless_chunks(connection: socket.socket) -> None:
    connection.sendall(f'HTTP/1.1 200 OK\r\nETag: "{ETAG}"\r\nTransfer-Encoding: chunked\r\n\r\n'.encode())
    while True:
        connection.sendall(b"1\r\nb\r\n")
        time.sleep(0.05)


def endless_refusal(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"1\r\n<\r\n")
        time.sleep(0.05)


def cut_without_length(connection: socket.socket) -> None:
    connection.sendall(f'HTTP/1.1 200 OK\r\nETag: "{ETAG}"\r\nConnection: close\r\n\r\nbo'.encode())


@pytest.mark.parametrize(
    ("speak", "why"),
    [
        (slow_pieces, "an answer that drips"),
        (endless_chunks, "an answer that drips"),
        (endless_refusal, "an answer that drips"),
        (cut_without_length, "2 of 4 bytes came"),
    ],
)
def test_a_body_without_end_or_that_ends_anywhere_is_a_fault_that_passes(
    opened: tuple[Bucket, ListedObject],
    aws_variables: pytest.MonkeyPatch,
    monkeypatch: pytest.MonkeyPatch,
    speak: Speak,
    why: str,
) -> None:
    monkeypatch.setattr(metered, "DRIP_GRACE_S", 0.2)
    with raw_server(speak) as url:
        aws_variables.setenv("AWS_ENDPOINT_URL", url)
        bucket = Bucket("bkt", patience_s=0.3, max_bytes=1000)
        bucket.check("", reads_all=False)
        began_at = time.monotonic()
        found = verdict(bucket, opened[1])
        assert time.monotonic() - began_at < 10
    assert (found.outcome, found.code) == (Outcome.FAILED, "fetch")
    assert why in found.message


@pytest.mark.parametrize(
    ("true", "lie", "why"),
    [
        ("<IsTruncated>", "<IsTruncated>true</IsTruncated><IsTruncated>", "IsTruncated twice"),
        ("<KeyCount>", "<KeyCount>2</KeyCount><KeyCount>", "KeyCount twice"),
        ("<Key>", "<Key>z.jpg</Key><Key>", "Key twice"),
        ("<Size>", "<Size>9</Size><Size>", "Size twice"),
        ("a.jpg<", "a<x/>.jpg<", "Key with more than text in it"),
        ("<Name>bkt<", f"<Name>{'b' * 1_000_000}<", "the listing is that of bucket 'bbb"),
        ("<KeyCount>1<", f"<KeyCount>{'9' * 1_000_000}<", "says that it has 999"),
    ],
)
def test_a_listing_that_says_a_thing_twice_is_none_and_is_quoted_shortly(
    lying_s3: LyingS3, opened: tuple[Bucket, ListedObject], true: str, lie: str, why: str
) -> None:
    lying_s3.list_as = lambda _asked, page: HttpAnswer(200, page.xml().replace(true.encode(), lie.encode(), 1), XML)
    with pytest.raises(TransientError, match=why) as caught:
        list(opened[0].pages(""))
    assert len(str(caught.value)) < 1000


def test_an_etag_of_kilobytes_is_quoted_shortly(lying_s3: LyingS3, opened: tuple[Bucket, ListedObject]) -> None:
    lying_s3.give_as = lambda _key, true: HttpAnswer(200, true.body, [("ETag", "e" * 60_000)])
    found = verdict(*opened)
    assert found.code == "not_as_listed" and len(found.message) < 1000
