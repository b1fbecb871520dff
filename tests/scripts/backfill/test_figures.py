"""From counts to hours and money: what is exact stays exact, what is estimated has a span that holds the truth."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from sniffer.backfill.contents import ContentSample
from sniffer.backfill.counting import BucketCount, Look, count_bucket
from sniffer.backfill.figures import EstimateBasis, estimate_of
from sniffer.core.count_progress import StageProgress
from sniffer.core.errors import SettingsError, TransientError
from sniffer.core.estimate_words import describe
from sniffer.core.key_ranges import KeyRange
from sniffer.core.measured_scan import MeasuredScan
from sniffer.core.rates import Rates, StorageRates
from sniffer.core.records import ListedObject, ScanRequest
from sniffer.core.shard_records import ShardedScan, ShardPart
from sniffer.scan.listing import ListingTally, StillInaccessible, images_to_score

WHEN = datetime(2026, 11, 1, tzinfo=UTC)
MEASURED = MeasuredScan("night", "bkt", images=3600, duration_s=400.0, images_per_s=10.0, consumers=3)
"""40 s of start and end."""


def listed(key: str, storage_class: str = "STANDARD", size: int = 1000, days: int = 0, etag: str = "") -> ListedObject:
    return ListedObject("bkt", key, etag or key, size, WHEN + timedelta(days=days), storage_class)


OBJECTS = [
    *(listed(f"a{number}", days=2) for number in range(6)),
    listed("b-copy", etag="a1"),
    listed("c-known", etag="k"),
    listed("d-copy-of-known", etag="k"),
    listed("e-huge", size=10**9),
    listed("f-smart", "INTELLIGENT_TIERING", days=9),
    listed("g-old", "GLACIER", 5000),
    listed("h-older", "DEEP_ARCHIVE", 7000),
    listed("i-restored", "GLACIER (restored)"),
    listed("j.html"),
    listed("k/", size=0),
]
KNOWN = {listed("c-known", etag="k").identity}


def plan(*ends: str) -> ShardedScan:
    """Shards that end at these keys, and one for the rest."""
    parts, after = [], ""
    for shard, up_to in enumerate([*ends, None], 1):
        parts.append(ShardPart(shard, 1, KeyRange(after, up_to), 10, f"whole.{shard}"))
        after = up_to or after
    return ShardedScan(ScanRequest("whole", "bkt", exclude=(".html",)), 1, tuple(parts))


def counted(
    whole: ShardedScan,
    objects: list[ListedObject],
    page: int = 3,
    at_once: int = 4,
    still: StillInaccessible | None = None,
) -> BucketCount:
    def look(
        request: ScanRequest, tally: ListingTally, watch: Callable[[list[ListedObject]], None]
    ) -> Iterator[list[ListedObject]]:
        inside = [one for one in objects if request.key_range.contains(one.key)]

        def pages() -> Iterator[list[ListedObject]]:
            for at in range(0, len(inside), page):
                watch(inside[at : at + page])
                yield inside[at : at + page]

        def settled(identities: list[bytes]) -> dict[bytes, bool]:
            return dict.fromkeys(KNOWN.intersection(identities), True)

        return images_to_score(pages(), request, settled, tally, still)

    made: list[Look] = []

    def make() -> Look:
        made.append(look)
        return look

    with StageProgress("list", len(objects), unit="objects") as progress:
        found = count_bucket(whole, make, 10**8, at_once, progress)
    assert 1 <= len(made) <= at_once, "one for each thread"
    return found


@pytest.mark.parametrize("ends", [(), ("b",), ("a3", "e", "k/")])
def test_counts_do_not_depend_on_the_shards(ends: tuple[str, ...]) -> None:
    whole = plan(*ends)
    estimate = estimate_of(whole, counted(whole, OBJECTS), EstimateBasis(None, 2, Rates(), growth=0.25))
    assert (estimate.listed, estimate.unchanged, estimate.skipped, estimate.unfetched) == (16, 1, 2, 1)
    assert [(one.storage_class, one.objects, one.size_bytes) for one in estimate.archived] == [
        ("DEEP_ARCHIVE", 1, 7000),
        ("GLACIER", 1, 5000),
    ]
    assert {one.storage_class: one.objects for one in estimate.to_fetch} == {
        "GLACIER (restored)": 1,
        "INTELLIGENT_TIERING": 1,
        "STANDARD": 8,
    }
    assert (estimate.new, estimate.get_requests, estimate.may_be_archived) == (10, 10, 1)
    # The copy of a new one, and that of a known one.
    assert estimate.duplicates.is_exact and estimate.duplicates.likely == 2
    assert (estimate.hours, estimate.cost, estimate.most_listed) == (None, None, 20)
    assert sum(one.objects for one in estimate.shards) == 16 and len(estimate.shards) == len(ends) + 1
    assert "hours  unknown: no scan has measured its pace" in describe(estimate)


def test_what_earlier_scans_found_archived_is_archived_and_what_s3_refuses_is_no_copy_of_a_score() -> None:
    objects = [
        *(listed(f"old{number}", "GLACIER", 5000) for number in range(4)),
        listed("smart", "INTELLIGENT_TIERING", 300),
        listed("t-new", "GLACIER", 40),
        listed("u-secret", etag="s"),
        listed("v-copy-of-secret", etag="s"),
        listed("w-scored-then-archived", "GLACIER", 7),
    ]
    codes = {one.identity: "archived" for one in objects[:5]} | {objects[6].identity: "access_denied"}
    still = StillInaccessible(
        lambda identities: {one: codes[one] for one in identities if one in codes}, lambda one: codes[one.identity]
    )
    KNOWN.add(objects[8].identity)
    try:
        estimate = estimate_of(plan(), counted(plan(), objects, still=still), EstimateBasis(None, 1, Rates()))
    finally:
        KNOWN.remove(objects[8].identity)
    assert [(one.storage_class, one.objects, one.size_bytes) for one in estimate.archived] == [
        ("GLACIER", 5, 20_040),
        ("INTELLIGENT_TIERING", 1, 300),
    ]
    assert (estimate.new, estimate.refused, estimate.unchanged, estimate.may_be_archived) == (1, 1, 1, 0)
    assert estimate.duplicates.likely == 0, "nobody has scored what is refused"
    accounted = estimate.new + estimate.archived_objects + estimate.refused + estimate.unchanged
    assert accounted == estimate.listed == 9


def test_an_error_in_one_shard_ends_all() -> None:
    def look(
        request: ScanRequest, tally: ListingTally, watch: Callable[[list[ListedObject]], None]
    ) -> Iterator[list[ListedObject]]:
        if request.key_range.after:
            raise TransientError("S3 was away")
        while True:  # the other one goes on until it is told
            watch(page := [listed("a")])
            yield page

    whole = plan("b")
    with StageProgress("list", 1) as progress, pytest.raises(TransientError, match="S3 was away"):
        count_bucket(whole, lambda: look, 1, 2, progress)


def test_hours_and_cost_are_between_the_best_and_the_worst() -> None:
    whole = plan("b", "d")
    count = counted(whole, [listed(f"{letter}{number:05}") for letter in "ace" for number in range(1200)], page=1000)
    rates = Rates(gpu_hour=1.0, gpus=2, machine_hour=0.5, machines=4)
    alone = estimate_of(whole, count, EstimateBasis(MEASURED, 1, rates))
    # 3,600 images at 10 a second, and 40 s for each of three shards.
    assert alone.hours is not None and alone.cost is not None and alone.gpu_hours is not None
    assert alone.hours.likely == pytest.approx((360 + 3 * 40) / 3600, abs=1e-3)
    three = estimate_of(whole, count, EstimateBasis(MEASURED, 3, rates))
    assert three.hours is not None and three.hours.likely == pytest.approx(alone.hours.likely / 3, abs=1e-3)
    assert three.hours.most == alone.hours.most, "at worst they share what one had"
    assert three.hours.least < three.hours.likely < three.hours.most
    assert alone.gpu_hours.likely == pytest.approx(2 * alone.hours.likely, abs=2e-3)
    spent = alone.hours.likely * (2 * 1.0 + 4 * 0.5) + 3600 / 1000 * (0.0004 + 0.004) + 6 / 1000 * 0.005
    assert alone.cost.likely == pytest.approx(spent, abs=0.01)
    assert alone.cost.least < alone.cost.likely < alone.cost.most
    # A listing that takes longer than the scoring is what it takes.
    slow = estimate_of(whole, count, EstimateBasis(MEASURED, 3, rates, listing_s=7200))
    assert slow.hours is not None and slow.hours.least == 2.0


def test_classes_that_cost_a_retrieval_are_charged_for_it() -> None:
    whole, rates = (
        plan(),
        Rates(storage={"GLACIER_IR": StorageRates(10, 30), "OTHER": StorageRates(1)}, list_per_1000=0),
    )
    count = counted(whole, [listed(f"{number}", "GLACIER_IR", 10**8) for number in range(10)])
    parts = estimate_of(whole, count, EstimateBasis(None, 1, rates)).cost_parts
    assert (parts["S3 GET requests"], parts["S3 retrieval"]) == (0.1, 30.0)


@pytest.mark.parametrize("seed", range(3))
def test_duplicates_among_very_many_are_within_their_span(seed: int) -> None:
    chance, sample = random.Random(seed), ContentSample(most_kept=2000)
    objects = [(min(chance.randrange(20_000), chance.randrange(20_000)), chance.random() < 0.2) for _ in range(60_000)]
    for content, is_known in objects:
        sample.add(f"e{content}", 7, is_known=is_known)
    known = {content for content, is_known in objects if is_known}
    new = [content for content, is_known in objects if not is_known]
    found = sample.duplicates()
    assert not found.is_exact
    assert found.least <= len(new) - len(set(new) - known) <= found.most
    assert found.most - found.least < 0.1 * len(objects)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("[]", "must be a JSON object of prices"),
        ("{}", "has no as_of"),
        ('{"as_of": "yesterday"}', "as_of"),
        ('{"as_of": "2026-11-26", "gpu_hours": 1}', "unknown field `.*gpu_hours`"),
        ('{"as_of": "2026-11-26", "gpu_hour": -1}', "gpu_hour in --rates must be 0 to 1,000,000, not -1.0"),
        ('{"as_of": "2026-11-26", "gpu_hour": NaN}', "gpu_hour in --rates must be"),
        ('{"as_of": "2026-11-26", "gpu_hour": "1"}', r"gpu_hour"),
        ('{"as_of": "2026-11-26", "gpus": 1.5}', "gpus"),
        ('{"as_of": "2026-11-26", "gpus": 1' + "0" * 400 + "}", "gpus in --rates must be 0 to 1,000,000"),
        ('{"as_of": "2026-11-26", "storage": {"STANDARD": {"get_per_1000": 1}}}', "no entry OTHER"),
        ('{"as_of": "2026-11-26", "storage": {"OTHER": {"get_per_1000": -1}}}', r"storage.OTHER.get_per_1000 in"),
        ('{"as_of": "2026-11-26", "gpus": 1, "gpus": 8}', "is not JSON .gpus is there more than once"),
        ('{"as_of": "2026-11-26", "storage": {"OTHER": {}, "OTHER": {"get_per_1000": 1}}}', "OTHER is there more than"),
        ('{"as_of": "2026-11-26", "currency": ""}', "currency in"),
        ('{"as_of": "2026-11-26", "are_examples": true}', "are_examples"),
    ],
)
def test_prices_that_cannot_be_are_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Rates.parse(text, "--rates")


def test_prices_of_ones_own_are_no_examples() -> None:
    own = Rates.parse('{"as_of": "2026-01-02", "gpu_hour": 2}', "--rates")
    assert (own.gpu_hour, own.list_per_1000, own.are_examples) == (2.0, Rates().list_per_1000, False)
    assert Rates.parse(own.document(), "--rates") == own
    assert dataclasses.replace(own).of_class("GLACIER (restored)") == own.storage["OTHER"]
    assert json.loads(Rates().document())["as_of"] == "2026-11-26"
