"""Which listed objects go to the fleet: window, limit, what is known; and the digest that does not mind the order."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sniffer.core.records import ListedObject, ListingDigest, Outcome, ScanRequest
from sniffer.core.settings import ShardSettings
from sniffer.scan.bounds import ShardBound
from sniffer.scan.listing import EarlierScans, ListingTally, StillInaccessible, empty_window_hint, images_to_score

DAY = datetime(2026, 11, 20, tzinfo=UTC)


def pages_of(count: int, page_size: int) -> list[list[ListedObject]]:
    objects = [ListedObject("b", f"k{i}", "e", 1, DAY + timedelta(hours=i)) for i in range(count)]
    return [objects[i : i + page_size] for i in range(0, count, page_size)]


@given(
    count=st.integers(0, 60),
    page_size=st.integers(1, 20),
    limit=st.none() | st.integers(1, 70),
    known_share=st.sampled_from([0, 2, 3]),
)
def test_every_listed_object_is_either_known_or_handed_out(
    count: int, page_size: int, limit: int | None, known_share: int
) -> None:
    pages = pages_of(count, page_size)
    known = {o.identity for page in pages for i, o in enumerate(page) if known_share and i % known_share == 0}
    tally = ListingTally()
    request = ScanRequest("s", "b", limit=limit)
    flagged = dict.fromkeys(known, True)
    new = [o for page in images_to_score(pages, request, lambda _: flagged, tally) for o in page]
    assert tally.listed == tally.unchanged + len(new)
    assert tally.finished
    assert not {o.identity for o in new} & known
    assert tally.flagged == tally.unchanged
    if limit is None:
        assert tally.listed == count
    else:
        assert len(new) == min(limit, count - len(known))
        assert tally.limited == (len(new) == limit)


@given(
    count=st.integers(0, 60),
    page_size=st.integers(1, 20),
    images=st.integers(1, 40),
    known_share=st.sampled_from([0, 2, 3]),
    odd=st.sets(st.integers(0, 59)),
)
def test_a_bounded_listing_ends_at_a_key_before_others_or_is_whole(
    count: int, page_size: int, images: int, known_share: int, odd: set[int]
) -> None:
    keys = [f"k{number:02}{chr(10) if number in odd else ''}" for number in range(count)]
    objects = [ListedObject("b", key, "e", 1, DAY) for key in keys]
    pages = [objects[i : i + page_size] for i in range(0, count, page_size)]
    known = {o.identity for i, o in enumerate(objects) if known_share and i % known_share == 0}
    tally, bound = ListingTally(), ShardBound(ShardSettings(images=images), lambda: 0.0, 0.0)
    settled = dict.fromkeys(known, False)
    new = [
        o for page in images_to_score(pages, ScanRequest("s", "b"), lambda _: settled, tally, bound=bound) for o in page
    ]
    assert tally.finished and tally.listed == tally.unchanged + len(new)
    if tally.ended_at is None:
        assert tally.listed == count
        return
    assert tally.ended_at.isprintable() and len(new) >= images
    assert keys[tally.listed - 1] == tally.ended_at and tally.listed < count
    assert [o.key for o in new] == [o.key for o in objects[: tally.listed] if o.identity not in known]


def test_a_bounded_listing_ends_when_its_time_is_over() -> None:
    now = [0.0]
    bound, tally = ShardBound(ShardSettings(seconds=100.0), lambda: now[0], 0.0), ListingTally()
    for _ in images_to_score(pages_of(30, 10), ScanRequest("s", "b"), lambda _: {}, tally, bound=bound):
        now[0] += 60
    assert tally.ended_at == "k19" and tally.listed == 20


def test_windows_that_touch_share_no_object_and_miss_none() -> None:
    pages = pages_of(72, 10)
    found: list[str] = []
    for day in range(-1, 4):
        since = DAY + timedelta(days=day)
        request = ScanRequest("s", "b", since=since, until=since + timedelta(days=1))
        found += [o.key for page in images_to_score(pages, request, lambda _: {}, ListingTally()) for o in page]
    assert sorted(found) == sorted(o.key for page in pages for o in page)


@pytest.mark.parametrize(
    ("asked", "late"),
    [
        ({"since": DAY, "until": DAY + timedelta(hours=30), "late_before": DAY + timedelta(hours=24)}, 24),
        ({"late_before": DAY + timedelta(hours=24), "exclude": ("k1*",)}, 24 - 11),
        ({"late_prefixes": ("k3", "k4")}, 22),
        ({}, 0),
    ],
)
def test_late_is_what_belongs_to_earlier_scans_and_none_has_seen(asked: dict[str, Any], late: int) -> None:
    objects = [image for page in pages_of(60, 60) for image in page]
    request = ScanRequest("s", "b", **asked)

    def count(*, settled: set[bytes], seen: set[bytes], resumes: bool = False) -> int:
        tally, earlier = ListingTally(), EarlierScans(seen.intersection, resumes)
        known = dict.fromkeys(settled, False)
        list(images_to_score([objects], request, lambda _: known, tally, earlier=earlier))
        return tally.late

    everything = {image.identity for image in objects}
    ours = {image.identity for image in objects[::2]}
    assert count(settled=set(), seen=set()) == late
    assert count(settled=set(), seen=everything) == 0  # such as what failed, or what another model version has scored
    assert count(settled=everything, seen=everything) == 0
    assert count(settled=ours, seen=set(), resumes=True) == late  # a rerun of the scan that has settled them


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        (
            {"since": DAY - timedelta(days=9), "until": DAY},
            "none of the 5 objects under s3://b/ was modified from 2026-11-11T00:00:00+00:00 until just before "
            "2026-11-20T00:00:00+00:00. All of them had to be listed",
        ),
        ({"until": DAY}, "none of the 5 objects under s3://b/ was modified until just before 2026-11-20"),
        ({"since": DAY}, ""),
        ({"exclude": ("k",)}, ""),
    ],
)
def test_a_window_in_which_nothing_was_modified_gets_a_hint(asked: dict[str, Any], hint: str) -> None:
    tally, request = ListingTally(), ScanRequest("s", "b", **asked)
    list(images_to_score(pages_of(5, 5), request, lambda _: {}, tally))
    assert empty_window_hint(request, tally).startswith(hint)
    assert bool(empty_window_hint(request, tally)) == bool(hint)
    assert empty_window_hint(request, ListingTally(finished=True)) == ""


def test_only_what_is_under_the_prefix_itself_shows_that_it_is_no_misspelling() -> None:
    tally, request = ListingTally(), ScanRequest("s", "b", prefix="k5", late_prefixes=("k4",))
    pages = [[image] for page in pages_of(60, 60) for image in page if image.key.startswith("k4")]
    assert sum(map(len, images_to_score(pages, request, lambda _: {}, tally))) == 11
    assert (tally.seen, tally.listed) == (0, 11)


def test_the_digest_ignores_the_order_but_not_the_number() -> None:
    identities = [random.Random(i).randbytes(32) for i in range(20)]
    one, other, twice = ListingDigest(), ListingDigest(), ListingDigest()
    one.add(identities)
    other.add(identities[10:])
    other.add(identities[:10])
    twice.add([*identities, identities[0], identities[0]])
    assert one.hex() == other.hex() != twice.hex()


# ---- what the listing alone decides ---------------------------------------------------------------------------------


def keys_to_score(objects: list[ListedObject], tally: ListingTally, **asked: Any) -> list[str]:
    pages = images_to_score([objects], ScanRequest("s", "b", **asked), lambda _: {}, tally)
    return [image.key for page in pages for image in page]


def named(*keys: str, size_bytes: int = 1) -> list[ListedObject]:
    return [ListedObject("b", key, "e", size_bytes, DAY) for key in keys]


def test_folder_markers_are_skipped_and_count() -> None:
    tally = ListingTally()
    objects = [*named("a/", "b/c/", size_bytes=0), *named("d/", "e.jpg"), *named("empty", size_bytes=0)]
    assert keys_to_score(objects, tally) == ["d/", "e.jpg", "empty"]
    assert (tally.listed, tally.outcomes, tally.codes) == (5, {Outcome.SKIPPED: 2}, {"folder_marker": 2})


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ({"include": (".jpg",)}, ["a.jpg", "b/a.JPG", "b/thumb/c.jpg"]),
        ({"include": (".jpg", "*.pn[g]")}, ["a.jpg", "b/a.JPG", "b/d.png", "b/thumb/c.jpg"]),
        ({"exclude": ("b/*",)}, ["a.jpg", "e.html"]),
        ({"exclude": (".html", "*/thumb/*")}, ["a.jpg", "b/a.JPG", "b/d.png"]),
        ({"include": ("b/*",), "exclude": ("?/thumb/*",)}, ["b/a.JPG", "b/d.png"]),
        ({"include": ("*.jpg",)}, ["a.jpg", "b/thumb/c.jpg"]),
        ({"exclude": ("*",)}, []),
    ],
)
def test_rules_leave_out_by_suffix_and_glob(asked: dict[str, Any], left: list[str]) -> None:
    objects, tally = named("a.jpg", "b/a.JPG", "b/d.png", "b/thumb/c.jpg", "e.html"), ListingTally()
    assert keys_to_score(objects, tally, **asked) == left
    assert tally.outcomes[Outcome.SKIPPED] == len(objects) - len(left)
    assert tally.listed == len(objects)


def test_keys_that_cannot_be_asked_for_fail_in_the_open() -> None:
    tally = ListingTally()
    assert keys_to_score(named("k" * 1025, "\udcff", "é" * 512), tally) == ["é" * 512]
    assert tally.outcomes == {Outcome.FAILED: 2}
    assert [sample.code for sample in tally.samples] == ["unusable_key"] * 2
    assert tally.samples[1].key == "\\xff"


# ---- what could not be read before ----------------------------------------------------------------------------------


class Refusing:
    """S3 as it was for an earlier scan, and how it is now."""

    def __init__(self, before: dict[str, str], now: dict[str, str]) -> None:
        self._before = {image.identity: before[image.key] for image in named(*before)}
        self._now = now
        self.asked: list[str] = []
        self.still = StillInaccessible(lambda ids: {i: self._before[i] for i in ids if i in self._before}, self.probe)

    def probe(self, image: ListedObject) -> str:
        self.asked.append(image.key)
        return self._now.get(image.key, "")


def handed_out(s3: Refusing, pages: list[list[ListedObject]], tally: ListingTally, **asked: Any) -> list[str]:
    request = ScanRequest(**{"scan_id": "s", "bucket": "b"} | asked)
    found = images_to_score(pages, request, lambda _: {}, tally, s3.still)
    return [image.key for page in found for image in page]


def test_what_is_still_refused_keeps_its_verdict_after_a_few_requests() -> None:
    keys = [f"k{number:02}" for number in range(30)]
    denied = dict.fromkeys(keys, "kms")
    s3, tally = Refusing(denied, denied), ListingTally()
    assert handed_out(s3, [named(*keys[:20]), named(*keys[20:], "new")], tally) == ["new"]
    assert tally.listed == 31
    assert (tally.outcomes, tally.codes) == ({Outcome.INACCESSIBLE: 30}, {"kms": 30})
    assert len(s3.asked) <= 4


def test_one_that_is_given_again_opens_all_of_its_code() -> None:
    keys = [f"k{number:02}" for number in range(30)]
    before = dict.fromkeys(keys, "kms") | {"other": "access_denied"}
    s3, tally = Refusing(before, {"other": "access_denied"}), ListingTally()
    assert handed_out(s3, [named(*keys[:20], "other"), named(*keys[20:])], tally) == keys
    assert tally.codes == {"access_denied": 1}
    assert len(s3.asked) == 4


def test_what_is_asked_for_and_refused_keeps_its_verdict_when_others_are_given() -> None:
    before = {"opened": "kms", "shut": "kms"}
    s3, tally = Refusing(before, {"shut": "access_denied"}), ListingTally()
    assert handed_out(s3, [named("opened", "shut")], tally) == ["opened"]
    assert tally.codes == {"access_denied": 1}


def test_nothing_hides_for_ever_behind_what_stays_refused() -> None:
    keys = [f"k{number:02}" for number in range(10)]
    before = dict.fromkeys([*keys, "opened"], "access_denied")
    nights = range(40)
    found = [
        handed_out(
            Refusing(before, dict.fromkeys(keys, "access_denied")), [named(*before)], ListingTally(), scan_id=str(n)
        )
        for n in nights
    ]
    assert sum("opened" in night for night in found) >= 3
    assert [] in found, "not everything is asked for every night"


def test_a_retry_asks_for_each_object_that_could_not_be_read() -> None:
    before = {"kms": "kms", "denied": "access_denied", "opened": "access_denied"}
    s3 = Refusing(before, {"kms": "kms", "denied": "access_denied"})
    assert handed_out(s3, [named(*before)], ListingTally(), retry_failed=True) == list(before)


def test_archives_are_asked_for_when_the_listing_shows_a_change() -> None:
    before = dict.fromkeys(["cold", "restored", "moved", "tiered"], "archived")
    s3, tally = Refusing(before, before), ListingTally()
    classes = ["GLACIER", "GLACIER (restored)", "STANDARD", "INTELLIGENT_TIERING"]
    objects = [replace(image, storage_class=name) for image, name in zip(named(*before), classes, strict=True)]
    assert handed_out(s3, [objects], tally) == ["restored", "moved"]
    assert s3.asked == ["tiered"]
    assert handed_out(s3, [objects], ListingTally(), retry_failed=True) == ["restored", "moved", "tiered"]
    assert handed_out(s3, [objects], ListingTally(), rescan=True) == list(before)


def test_a_limit_is_not_used_up_by_what_is_still_refused() -> None:
    denied = dict.fromkeys(["a", "b", "c"], "kms")
    s3, tally = Refusing(denied, denied), ListingTally()
    assert handed_out(s3, [named("a", "b", "c", "d", "e", "f")], tally, limit=2) == ["d", "e"]
    assert (tally.listed, tally.limited) == (5, True)
