"""A listing is believed only with proof: whatever is not S3's listing of that bucket is retried, then an error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from botocore import handlers
from support.http_server import HttpAnswer
from support.lying_s3 import BACKEND_PAGE, XML, Asked, LyingS3, Page, entry, error_answer

from sniffer.adapters.s3.bucket import Bucket
from sniffer.adapters.s3.pages import BrokenPage, parse_page
from sniffer.adapters.s3.proofs import UnorderedProof
from sniffer.core.errors import SettingsError, TransientError

KEYS = [f"k{number:02}" for number in range(25)]


def filled(lying_s3: LyingS3) -> Bucket:
    lying_s3.page_size = 10
    for key in KEYS:
        lying_s3.put(key)
    bucket = Bucket("bkt", patience_s=0.3, max_bytes=1000)
    bucket.check()
    return bucket


def keys(bucket: Bucket, prefix: str = "") -> list[str]:
    return [listed.key for page in bucket.pages(prefix) for listed in page]


def of_page(token: str | None, lie: Callable[[Page], Page | HttpAnswer]) -> Callable[[Asked, Page], Page | HttpAnswer]:
    """Lie about the page of that token only."""
    return lambda asked, page: lie(page) if asked.token == token else page


def plain(status: int, body: bytes) -> Callable[[Page], HttpAnswer]:
    return lambda _page: HttpAnswer(status, body, XML)


def test_a_page_is_parsed_once(lying_s3: LyingS3, monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 parses each answer to look for an error in it, which takes as long as our own look."""
    looked_at: list[bytes] = []

    def look(_status: int, body: bytes) -> bool:
        looked_at.append(body)
        return False

    bucket = filled(lying_s3)
    monkeypatch.setattr(handlers, "_looks_like_special_case_error", look)
    assert keys(bucket) == KEYS
    assert len(looked_at) == 3 and max(map(len, looked_at)) < 100


LIES: dict[str, tuple[Callable[[Page], Page | HttpAnswer], str]] = {
    "empty 200": (plain(200, b""), "no XML"),
    "a proxy's page": (plain(200, b"<!doctype html><p>Sign in"), "not answered"),
    "XHTML": (plain(200, BACKEND_PAGE), "'html'"),
    "truncated XML": (lambda page: HttpAnswer(200, page.xml()[:-40], XML), "no XML"),
    "empty list of S3's": (lambda page: replace(page, entries=[], name=""), "of bucket None"),
    "another document": (lambda page: replace(page, root="ListAllMyBucketsResult"), "ListAllMyBucketsResult"),
    "error in a 200": (lambda _page: replace_status(error_answer(500, "InternalError"), 200), "InternalError"),
    "another bucket's": (lambda page: replace(page, name="other"), "of bucket 'other'"),
    "another prefix's": (lambda page: replace(page, prefix="other/"), "of prefix 'other/'"),
    "no IsTruncated": (lambda page: replace(page, truncated=""), "IsTruncated"),
    "IsTruncated that is no word": (lambda page: replace(page, truncated="perhaps"), "IsTruncated"),
    "no token": (lambda page: replace(page, truncated="true", token=""), "no NextContinuationToken"),
    "its own token": (lambda page: replace(page, truncated="true", token="t10"), "in a circle"),
    "too few keys": (
        lambda page: replace(page, entries=page.entries[:-1], count="10"),
        "9 keys and says that it has 10",
    ),
    "no keys": (lambda page: replace(page, entries=[], count="10"), "0 keys and says that it has 10"),
    "a key twice": (lambda page: replace(page, entries=[*page.entries, page.entries[-1]]), "out of order"),
    "out of order": (lambda page: replace(page, entries=page.entries[::-1]), "out of order"),
    "page 1 again": (lambda page: replace(page, entries=first_page()), "out of order"),
    "no ETags": (lambda page: replace(page, entries=[without(e, "ETag") for e in page.entries]), "without ETag"),
    "empty ETags": (lambda page: replace(page, entries=[emptied(e, "ETag") for e in page.entries]), "without ETag"),
    "no keys in entries": (
        lambda page: replace(page, entries=[without(e, "Key") for e in page.entries]),
        "without key",
    ),
    "no sizes": (lambda page: replace(page, entries=[without(e, "Size") for e in page.entries]), "no size or time"),
    "sizes that are words": (lambda page: replace(page, entries=[emptied(e, "Size") for e in page.entries]), "no size"),
    "no times": (lambda page: replace(page, entries=[without(e, "LastModified") for e in page.entries]), "no size or"),
    "times that are words": (
        lambda page: replace(page, entries=[emptied(e, "LastModified") for e in page.entries]),
        "no size or time",
    ),
    "503": (plain(503, b"busy"), "HTTP 503"),
    "429 of a proxy": (plain(429, b"slow"), "HTTP 429"),
    "404 of a proxy": (plain(404, BACKEND_PAGE), "HTTP 404"),
    "403 of a proxy": (plain(403, b"<html>Forbidden</html>"), "HTTP 403"),
    "SlowDown": (lambda _page: error_answer(503, "SlowDown"), "SlowDown"),
    "throttled": (lambda _page: error_answer(400, "Throttling"), "Throttling"),
}


def replace_status(answer: HttpAnswer, status: int) -> HttpAnswer:
    return HttpAnswer(status, answer.body, answer.headers)


def without(lines: str, tag: str) -> str:
    return lines.partition(f"<{tag}>")[0] + lines.partition(f"</{tag}>")[2]


def emptied(lines: str, tag: str) -> str:
    return f"{lines.partition(f'<{tag}>')[0]}<{tag}></{tag}>{lines.partition(f'</{tag}>')[2]}"


def first_page() -> list[str]:
    s3 = LyingS3()
    return [entry(key, s3.put(key)) for key in KEYS[:10]]


@pytest.mark.parametrize(("lie", "reason"), LIES.values(), ids=list(LIES))
def test_no_lie_ends_a_listing(lying_s3: LyingS3, lie: Callable[[Page], Page | HttpAnswer], reason: str) -> None:
    bucket = filled(lying_s3)
    lying_s3.list_as = of_page("t10", lie)
    seen: list[str] = []
    with pytest.raises(TransientError, match=reason):
        seen.extend(listed.key for page in bucket.pages("") for listed in page)
    assert len(lying_s3.listings) > 3, "it was not asked again"


@pytest.mark.sampled(3)
@pytest.mark.parametrize("lie", [lie for lie, _ in LIES.values()], ids=list(LIES))
def test_a_lie_that_passes_is_retried(lying_s3: LyingS3, lie: Callable[[Page], Page | HttpAnswer]) -> None:
    bucket = filled(lying_s3)
    lies = iter([lie])
    lying_s3.list_as = lambda asked, page: next(lies, lambda page: page)(page) if asked.token == "t10" else page
    assert keys(bucket) == KEYS


def test_tokens_in_a_circle_of_empty_pages_end(lying_s3: LyingS3) -> None:
    bucket = filled(lying_s3)
    turn = {None: "a", "a": "b", "b": "c", "c": "a"}
    lying_s3.list_as = lambda asked, page: replace(page, entries=[], truncated="true", token=turn[asked.token])
    with pytest.raises(TransientError, match="in a circle"):
        keys(bucket)


def test_empty_pages_with_ever_new_tokens_end(lying_s3: LyingS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sniffer.adapters.s3.proofs.MAX_EMPTY_PAGES", 20)
    bucket = filled(lying_s3)
    lying_s3.list_as = lambda asked, page: replace(page, entries=[], truncated="true", token=f"{asked.token}x")
    with pytest.raises(TransientError, match="20 pages without a key"):
        keys(bucket)


def test_empty_pages_in_between_are_only_empty(lying_s3: LyingS3) -> None:
    bucket = filled(lying_s3)

    def list_as(asked: Asked, page: Page) -> Page:
        if asked.token == "t10":
            return replace(page, entries=[], truncated="true", token="t10-go-on")
        return page

    lying_s3.list_as = list_as
    pages = bucket.pages("")
    assert len(next(pages)) == 10
    lying_s3.list_as = lambda asked, page: page
    assert len(next(pages)) == 10


def test_a_store_that_tells_less_is_believed(lying_s3: LyingS3) -> None:
    bucket = filled(lying_s3)
    lying_s3.list_as = lambda _asked, page: replace(page, count="", prefix=None)
    assert keys(bucket) == KEYS


def test_odd_keys_and_prefixes_survive_the_encoding(lying_s3: LyingS3) -> None:
    odd = ["p+ q/%41", "p+ q/&<>\"'", "p+ q/a\x01b\n", "p+ q/é😀", "p+ q//", "p+ q/a b+c%20"]
    for key in odd:
        lying_s3.put(key, key.encode())
    bucket = Bucket("bkt", patience_s=1, max_bytes=1000)
    bucket.check("p+ q/")
    listed = [image for page in bucket.pages("p+ q/") for image in page]
    assert sorted(image.key for image in listed) == sorted(odd)
    assert [bucket.fetch(image) for image in listed] == [image.key.encode() for image in listed]


def test_a_store_that_ignores_the_prefix_is_found_out(lying_s3: LyingS3) -> None:
    bucket = filled(lying_s3)
    everything = first_page()
    lying_s3.list_as = lambda _asked, page: replace(page, entries=everything)
    with pytest.raises(TransientError, match="listing of prefix 'k05' has the key 'k00'"):
        keys(bucket, "k05")


@pytest.mark.parametrize("code", ["NoSuchBucket", "ExpiredToken", "InvalidAccessKeyId", "RequestTimeTooSkewed"])
def test_what_no_other_request_would_survive_stops_a_listing_at_once(lying_s3: LyingS3, code: str) -> None:
    bucket = filled(lying_s3)
    lying_s3.list_as = of_page("t10", lambda _page: error_answer(404 if code == "NoSuchBucket" else 403, code))
    before = len(lying_s3.listings)
    with pytest.raises(SettingsError, match=code):
        keys(bucket)
    assert len(lying_s3.listings) == before + 2


def test_keys_that_nobody_can_ask_for_are_listed_as_such(lying_s3: LyingS3) -> None:
    bucket = filled(lying_s3)
    broken = entry("k99", lying_s3.put("k99")).replace("<Key>k99", "<Key>k99%FF%FE")
    lying_s3.list_as = of_page("t20", lambda page: replace(page, entries=[*page.entries[:-1], broken]))
    assert keys(bucket)[-1] == "k99\udcff\udcfe"


# ---- directory buckets ----------------------------------------------------------------------------------------------


def test_a_directory_bucket_lists_in_no_order_and_each_key_once() -> None:
    s3 = LyingS3("b--use1-az4--x-s3")
    pages = [
        parse_page(
            Page(s3.name, "", [entry(key, s3.put(key)) for key in names], "true", f"t{names}").xml(), s3.name, ""
        )
        for names in (["c", "a"], ["d", "b"], ["d", "b", "d"], ["b", "d"])
    ]
    proof = UnorderedProof()
    for page in pages[:2]:
        proof.check(page)
        proof.keep(page)
    with pytest.raises(BrokenPage, match="key twice"):
        proof.check(pages[2])
    with pytest.raises(BrokenPage, match="page twice"):
        proof.check(pages[3])


def test_a_prefix_of_a_directory_bucket_ends_in_a_slash(aws_variables: pytest.MonkeyPatch) -> None:
    bucket = Bucket("b--use1-az4--x-s3", patience_s=0, max_bytes=1000)
    with pytest.raises(SettingsError, match="prefixes end in /, not 'a'"):
        bucket.check("a")


# ---- storage classes ------------------------------------------------------------------------------------------------


def test_the_storage_class_and_what_is_restored_are_told(lying_s3: LyingS3) -> None:
    restored = (
        "<StorageClass>GLACIER</StorageClass><RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>"
        "<RestoreExpiryDate>2026-12-21T00:00:00.000Z</RestoreExpiryDate></RestoreStatus>"
    )
    on_its_way = (
        "<StorageClass>DEEP_ARCHIVE</StorageClass><RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress>"
        "</RestoreStatus>"
    )
    for key, xml in {
        "archived": "<StorageClass>GLACIER</StorageClass>",
        "coming": on_its_way,
        "restored": restored,
        "tiered": "<StorageClass>INTELLIGENT_TIERING</StorageClass>",
        "untold": "",
    }.items():
        lying_s3.put(key, listed_xml=xml)
    bucket = Bucket("bkt", patience_s=0, max_bytes=1000)
    bucket.check()
    (page,) = bucket.pages("")
    assert [image.storage_class for image in page] == [
        "GLACIER",
        "DEEP_ARCHIVE",
        "GLACIER (restored)",
        "INTELLIGENT_TIERING",
        "STANDARD",
    ]
    assert lying_s3.listings[-1].headers["x-amz-optional-object-attributes"] == "RestoreStatus"


def test_an_s3_that_does_not_know_restored_objects_is_asked_without(lying_s3: LyingS3) -> None:
    lying_s3.put("a")
    lying_s3.list_as = lambda asked, page: (
        error_answer(501, "NotImplemented") if "x-amz-optional-object-attributes" in asked.headers else page
    )
    bucket = Bucket("bkt", patience_s=0, max_bytes=1000)
    bucket.check()
    assert keys(bucket) == ["a"]
