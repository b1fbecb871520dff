"""Listing and fetching against a real S3 API, sound and flaky."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.flaky_s3 import DENIED, FlakyS3
from support.scratch_bucket import ScratchBucket

from sniffer.adapters.s3.bucket import Bucket
from sniffer.adapters.s3.errors import NotFetched
from sniffer.adapters.s3.fetching import StoredObject
from sniffer.core.errors import SettingsError, TransientError
from sniffer.core.records import ListedObject, Outcome

AWKWARD_KEYS = [
    "plain.jpg",
    "a b.jpg",
    "emoji 😀.jpg",
    "pct%20.jpg",
    "pct .jpg",
    "plus+.jpg",
    "quote'\".jpg",
    "folder/",
    "folder//double.jpg",
    "/leading.jpg",
    "dot/./x.jpg",
    "Case.jpg",
    "case.jpg",
    "tab\t.jpg",
    "hash#?&=.jpg",
    "back\\slash~^`{}[]<>|.jpg",
    "é.jpg",
    "e\u0301.jpg",
    "k" * 1024,
    "😀" * 256,
]


def opened(name: str, *, patience_s: float = 5, max_bytes: int = 10_000) -> Bucket:
    bucket = Bucket(name, patience_s=patience_s, max_bytes=max_bytes)
    bucket.check()
    return bucket


def listed(bucket: Bucket, prefix: str = "") -> dict[str, ListedObject]:
    return {image.key: image for page in bucket.pages(prefix) for image in page}


def test_every_awkward_key_is_listed_and_fetched_as_itself(bucket: ScratchBucket) -> None:
    for key in AWKWARD_KEYS:
        bucket.put(key, f"body of {key}".encode())
    ours = opened(bucket.name)
    found = listed(ours)
    assert set(found) == set(AWKWARD_KEYS)
    with ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(lambda key: ours.fetch(found[key]), AWKWARD_KEYS))
    assert bodies == [f"body of {key}".encode() for key in AWKWARD_KEYS]


def test_what_is_listed_is_what_s3_says(bucket: ScratchBucket) -> None:
    etag = bucket.put("in/a", b"12345")
    bucket.put("out/b", b"1")
    image = listed(opened(bucket.name), "in/")["in/a"]
    assert (image.etag, image.size_bytes, image.bucket) == (etag, 5, bucket.name)
    assert image.last_modified.utcoffset() == timedelta(0)


def test_a_listing_of_several_pages_is_whole(bucket: ScratchBucket) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: bucket.put(f"k{i:04}", b"x"), range(1005)))
    pages = list(opened(bucket.name).pages(""))
    assert [len(page) for page in pages] == [1000, 5]


@pytest.mark.parametrize("key", ["a.jpg", "odd//a.jpg"])
def test_deleted_and_replaced_objects_are_gone(bucket: ScratchBucket, key: str) -> None:
    bucket.put(key, b"first")
    ours = opened(bucket.name)
    image = listed(ours)[key]
    bucket.put(key, b"second")
    with pytest.raises(NotFetched) as replaced:
        ours.fetch(image)
    bucket.delete(key)
    with pytest.raises(NotFetched) as deleted:
        ours.fetch(image)
    verdicts = [caught.value.verdict for caught in (replaced, deleted)]
    assert [(v.outcome, v.code) for v in verdicts] == [(Outcome.GONE, "replaced"), (Outcome.GONE, "deleted")]


@pytest.mark.parametrize("key", ["a.jpg", "odd//a.jpg"])
def test_reading_by_key_gives_what_is_there_now_and_its_etag(bucket: ScratchBucket, key: str) -> None:
    ours = opened(bucket.name)
    for body in (b"first", b"second"):
        etag = bucket.put(key, body)
        assert ours.read(key) == StoredObject(body, etag)
    bucket.delete(key)
    with pytest.raises(NotFetched) as caught:
        ours.read(key)
    assert (caught.value.verdict.outcome, caught.value.verdict.code) == (Outcome.GONE, "deleted")


@pytest.mark.parametrize("key", ["a.jpg", "odd//a.jpg"])
def test_an_object_over_the_byte_limit_is_not_read(bucket: ScratchBucket, key: str) -> None:
    bucket.put(key, b"x" * 11)
    with pytest.raises(NotFetched) as caught:
        opened(bucket.name, max_bytes=10).read(key)
    assert (caught.value.verdict.outcome, caught.value.verdict.code) == (Outcome.UNREADABLE, "over_byte_limit")


def test_an_object_over_the_byte_limit_is_not_fetched(bucket: ScratchBucket) -> None:
    bucket.put("big", b"x" * 11)
    ours = opened(bucket.name, max_bytes=10)
    with pytest.raises(NotFetched) as caught:
        ours.fetch(listed(ours)["big"])
    assert (caught.value.verdict.outcome, caught.value.verdict.code) == (Outcome.UNREADABLE, "over_byte_limit")
    assert "SNIFFER_MAX_IMAGE_BYTES" in caught.value.verdict.message


@pytest.mark.parametrize("key", ["a.jpg", "odd//a.jpg"])
def test_a_throttling_s3_is_waited_for(bucket: ScratchBucket, flaky_s3: FlakyS3, key: str) -> None:
    bucket.put(key, b"body")
    ours = opened(bucket.name)
    flaky_s3.away_for(1.0)
    image = listed(ours)[key]
    flaky_s3.away_for(1.0)
    assert ours.fetch(image) == b"body"


def test_each_retry_is_counted(bucket: ScratchBucket, flaky_s3: FlakyS3) -> None:
    bucket.put("a.jpg", b"body")
    counted: list[int] = []
    ours = Bucket(bucket.name, patience_s=20, max_bytes=99, on_retry=lambda: counted.append(1))
    ours.check()
    assert ours.read("a.jpg").data == b"body" and counted == []
    flaky_s3.away_for(0.5)
    assert ours.read("a.jpg").data == b"body" and counted


@pytest.mark.parametrize("key", ["a.jpg", "odd//a.jpg"])
def test_patience_ends_as_a_failure_of_that_image(bucket: ScratchBucket, flaky_s3: FlakyS3, key: str) -> None:
    bucket.put(key, b"body")
    ours = opened(bucket.name, patience_s=0.5)
    image = listed(ours)[key]
    flaky_s3.away_for(60)
    began = time.monotonic()
    with pytest.raises(NotFetched) as caught:
        ours.fetch(image)
    assert (caught.value.verdict.outcome, caught.value.verdict.code) == (Outcome.FAILED, "fetch")
    assert time.monotonic() - began < 20
    with pytest.raises(TransientError, match="run again later"):
        list(ours.pages(""))


@pytest.mark.parametrize("key", ["a.jpg", "odd//a.jpg"])
def test_an_object_without_permission_is_inaccessible_for_that_reason(
    bucket: ScratchBucket, flaky_s3: FlakyS3, key: str
) -> None:
    bucket.put(key, b"body")
    ours = opened(bucket.name)
    image = listed(ours)[key]
    flaky_s3.refuse = lambda _method, _path: (403, DENIED)
    with pytest.raises(NotFetched) as caught:
        ours.fetch(image)
    assert (caught.value.verdict.outcome, caught.value.verdict.code) == (Outcome.INACCESSIBLE, "access_denied")


def test_what_is_wrong_with_a_bucket_is_said_at_once(
    bucket: ScratchBucket, flaky_s3: FlakyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match="'absent-bucket' at .* does not exist"):
        opened("absent-bucket")
    with pytest.raises(SettingsError, match="'No Bucket' is not a bucket name"):
        opened("No Bucket")
    flaky_s3.refuse = lambda _method, _path: (403, DENIED)
    with pytest.raises(SettingsError, match="s3:ListBucket"):
        opened(bucket.name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(TransientError, match="cannot reach .*AWS_ENDPOINT_URL"):
        opened(bucket.name)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with pytest.raises(SettingsError, match="no AWS credentials"):
        opened(bucket.name)


def test_the_sought_object_is_the_listed_one_not_a_namesake(bucket: ScratchBucket) -> None:
    bucket.put("folder/", b"marker")
    bucket.put("folder", b"plain")
    ours = opened(bucket.name)
    found = listed(ours)
    assert ours.fetch(found["folder/"]) == b"marker"
    assert ours.fetch(found["folder"]) == b"plain"
    with pytest.raises(NotFetched):
        ours.fetch(replace(found["folder"], etag="other"))


def test_of_several_creators_at_once_one_wins(bucket: ScratchBucket) -> None:
    creator = opened(bucket.name)
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: creator.create("claim", b"%d" % n), range(8)))
    assert sum(won) == 1
    assert creator.read("claim").data == b"%d" % won.index(True)


def test_a_file_goes_up_and_comes_back_whole(bucket: ScratchBucket, tmp_path: Path) -> None:
    data = random.Random(1).randbytes(3_000_000)
    (tmp_path / "up").write_bytes(data)
    there = opened(bucket.name)
    there.upload(tmp_path / "up", "models/1/variables")
    [[listed]] = there.pages("models/1/")
    there.download(listed, tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == data


def test_a_file_that_is_not_there_is_gone(bucket: ScratchBucket, tmp_path: Path) -> None:
    nothing = ListedObject(bucket.name, "nothing", "etag", 1, datetime.now(UTC))
    with pytest.raises(NotFetched, match="no such object"):
        opened(bucket.name).download(nothing, tmp_path / "down")


def test_writes_wait_for_an_s3_that_is_away_for_a_while(
    bucket: ScratchBucket, flaky_s3: FlakyS3, tmp_path: Path
) -> None:
    (tmp_path / "up").write_bytes(b"whole")
    there = opened(bucket.name)
    flaky_s3.away_for(0.5)
    there.upload(tmp_path / "up", "late")
    assert there.read("late").data == b"whole"


def test_a_write_that_is_not_allowed_names_the_right_it_needs(bucket: ScratchBucket, flaky_s3: FlakyS3) -> None:
    there = opened(bucket.name)
    flaky_s3.refuse = lambda method, _path: (403, DENIED) if method == "PUT" else None
    with pytest.raises(SettingsError, match="s3:PutObject"):
        there.create("claim", b"")
