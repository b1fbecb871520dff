"""Key ranges of a real S3 API: listed from after one key up to another, sampled, and proven as any listing is."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from support.lying_s3 import LyingS3, entry
from support.scratch_bucket import ScratchBucket

from sniffer.adapters.s3.bucket import Bucket
from sniffer.adapters.s3.pages import BrokenPage, parse_page
from sniffer.core.errors import SettingsError, TransientError
from sniffer.core.key_ranges import KeyRange, key_bytes
from sniffer.shards.planning import plan_shards

KEYS = sorted(
    ["a", "a b+c", "a/b%20/ü", "a/b/1", "a/b/2", "a/c/1", "a0", "é/1", "\ue000/1", "😀/1", "😀/2", "&<>\"'/x", "t\t/1"],
    key=key_bytes,
)


@pytest.fixture
def filled(bucket: ScratchBucket) -> Bucket:
    for key in KEYS:
        bucket.put(key, b"x")
    return Bucket(bucket.name, patience_s=1, max_bytes=1000)


def test_ranges_that_tile_the_keys_list_each_once(filled: Bucket) -> None:
    ends = ["", *KEYS[::2], None]
    found = []
    for after, up_to in pairwise(ends):
        assert after is not None
        found += [listed.key for page in filled.pages("", KeyRange(after, up_to)) for listed in page]
    assert found == KEYS


def test_a_range_and_a_prefix_list_what_is_in_both(filled: Bucket) -> None:
    listed = [one.key for page in filled.pages("a/", KeyRange("a b+c", "a/b/1")) for one in page]
    assert listed == ["a/b%20/ü", "a/b/1"]
    assert list(filled.pages("a/", KeyRange("a/c/1", "b"))) == []


def test_folders_are_gathered_to_the_next_slash(filled: Bucket) -> None:
    root = filled.folders("")
    assert list(root.folders) == ["&<>\"'/", "a/", "t\t/", "é/", "\ue000/", "😀/"] and root.is_last
    assert root.keys == ["a", "a b+c", "a0"]
    assert list(filled.folders("a/").folders) == ["a/b%20/", "a/b/", "a/c/"]


def test_a_sample_begins_after_its_key(filled: Bucket) -> None:
    page = filled.keys_after("a/", "a/b%20/ü")
    assert page.keys == ["a/b/1", "a/b/2", "a/c/1"] and page.is_last


def test_pages_are_cut_at_the_end_and_no_page_after_it_is_asked_for(lying_s3: LyingS3) -> None:
    lying_s3.page_size = 10
    keys = [f"k{number:03}" for number in range(100)]
    for key in keys:
        lying_s3.put(key)
    bucket = Bucket("bkt", patience_s=0.3, max_bytes=1000)
    found = [listed.key for page in bucket.pages("", KeyRange("k014", "k031")) for listed in page]
    assert found == keys[15:32] and len(lying_s3.listings) == 2


def test_a_listing_that_does_not_begin_after_its_key_is_refused(lying_s3: LyingS3) -> None:
    for key in ("a", "b", "c"):
        lying_s3.put(key)
    bucket = Bucket("bkt", patience_s=0.3, max_bytes=1000)
    entries = [entry(key, stored) for key, stored in lying_s3.objects.items()]
    lying_s3.list_as = lambda _asked, page: replace(page, entries=entries)
    with pytest.raises(TransientError, match="out of order: b'a' comes after b'b'"):
        list(bucket.pages("", KeyRange("b")))


def test_planning_finds_out_a_store_that_ignores_where_to_begin(lying_s3: LyingS3) -> None:
    lying_s3.page_size = 10
    for number in range(100):
        lying_s3.put(f"k{number:03}")
    bucket = Bucket("bkt", patience_s=0.3, max_bytes=1000)
    entries = [entry(key, stored) for key, stored in lying_s3.objects.items()][:10]
    lying_s3.list_as = lambda _asked, page: replace(page, entries=entries, truncated="true", token="t")
    plan = plan_shards(bucket, "", 4)
    assert [shard.range for shard in plan.shards] == [KeyRange()] and "ignores where" in plan.warning


def test_a_directory_bucket_lists_no_ranges() -> None:
    bucket = Bucket("bkt--use1-az4--x-s3", patience_s=0.3, max_bytes=1000)
    assert not bucket.is_ordered
    with pytest.raises(SettingsError, match="not by key ranges"):
        list(bucket.pages("", KeyRange("a")))


def answer(*, more: str = "", count: int = 1) -> bytes:
    return (
        f"<ListBucketResult><Name>b</Name><Prefix>p/</Prefix><KeyCount>{count}</KeyCount>"
        f"<IsTruncated>false</IsTruncated><EncodingType>url</EncodingType>{more}</ListBucketResult>"
    ).encode()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (answer(more="<StartAfter>x</StartAfter>", count=0), "StartAfter 'x', not 'p/é'"),
        (answer(more="<Delimiter>%7C</Delimiter>", count=0), "Delimiter '%7C', not '/'"),
        (answer(more="<CommonPrefixes><Prefix>q/a/</Prefix></CommonPrefixes>"), "has the common prefix 'q/a/'"),
        (answer(more="<CommonPrefixes><Prefix>p/a</Prefix></CommonPrefixes>"), "has the common prefix 'p/a'"),
        (answer(more="<CommonPrefixes><Prefix>p/a/b/</Prefix></CommonPrefixes>"), "has the common prefix 'p/a/b/'"),
        (answer(more="<CommonPrefixes><Prefix>p/a/</Prefix></CommonPrefixes>" * 2, count=2), "a common prefix twice"),
        (answer(more="<CommonPrefixes><Prefix>p/a/</Prefix></CommonPrefixes>", count=0), "has 1 keys and says that"),
    ],
)
def test_an_answer_to_another_question_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(BrokenPage, match=reason.replace("|", r"\|")):
        parse_page(body, "b", "p/", after="p/é", delimiter="/")


def test_common_prefixes_that_nobody_asked_for_are_refused() -> None:
    body = answer(more="<CommonPrefixes><Prefix>p/a/</Prefix></CommonPrefixes>")
    with pytest.raises(BrokenPage, match="no delimiter was asked for"):
        parse_page(body, "b", "p/")
    echoed = answer(more="<StartAfter>p/%C3%A9</StartAfter><Delimiter>/</Delimiter>", count=0)
    assert parse_page(echoed, "b", "p/", after="p/é", delimiter="/").is_last
