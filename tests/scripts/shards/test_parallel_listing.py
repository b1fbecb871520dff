"""A bucket is listed by many requests at once, as fast as they allow, without knowing its keys, and each key once."""

from __future__ import annotations

import random

import pytest
from support.changing_bucket import ChangingBucket, layout_by_chance
from support.virtual_bucket import LAYOUTS, AnswersLater, Page, VirtualBucket

from sniffer.core.key_ranges import tiling_faults
from sniffer.shards.parallel import ParallelListing
from sniffer.shards.planner import Planner
from sniffer.shards.stores import FolderProbe, Probe, UnsortedStore

LATENCY_S, AT_ONCE = 0.075, 64


def _list(name: str, keys: int) -> tuple[int, VirtualBucket, AnswersLater[Probe | FolderProbe, Page]]:
    bucket, listing, found = VirtualBucket(LAYOUTS[name](keys)), ParallelListing(), 0
    clock = AnswersLater[Probe | FolderProbe, Page](LATENCY_S, AT_ONCE)

    def take(probe: Probe | FolderProbe, page: Page) -> None:
        nonlocal found
        found += len(listing.take(probe, page))

    clock.run(listing.next, bucket.answer, take)
    return found, bucket, clock


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", LAYOUTS)
def test_two_million_keys_cost_few_more_requests_than_one_by_one(name: str) -> None:
    found, bucket, clock = _list(name, 2_000_000)
    assert found == bucket.layout.count
    pages = found / 1000
    assert clock.requests <= 1.2 * pages
    assert clock.now_s <= pages / AT_ONCE * LATENCY_S + 1.5


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYOUTS)
def test_100_million_keys_are_listed_in_two_minutes(name: str) -> None:
    found, bucket, clock = _list(name, 100_000_000)
    assert found == bucket.layout.count
    assert clock.requests <= 1.2 * found / 1000 and clock.now_s <= 120


def test_a_store_that_lists_in_no_order_is_found_out() -> None:
    listing = ParallelListing()
    listing.take(FolderProbe(""), Page((), True)) if listing.next() == FolderProbe("") else None
    probe = listing.next()
    assert probe == Probe("")
    with pytest.raises(UnsortedStore, match="in no order"):
        listing.take(Probe(""), Page(["b", "c", "a"], False))


def _check_layout(seed: int) -> None:
    chance = random.Random(seed)
    bucket = ChangingBucket(layout_by_chance(chance), chance)
    listing, found = ParallelListing(least_keys=chance.choice([1, 5, 50])), list[str]()
    clock = AnswersLater[Probe | FolderProbe, Page](1.0, chance.choice([1, 3, 16]))
    clock.run(listing.next, bucket.answer, lambda probe, page: found.extend(listing.take(probe, page)))
    assert len(set(found)) == len(found), seed
    assert bucket.always <= set(found) <= bucket.ever, seed


@pytest.mark.parametrize("block", range(3))
def test_keys_that_are_there_all_the_time_are_listed_once_while_others_come_and_go(block: int) -> None:
    for seed in range(block * 60, block * 60 + 60):
        _check_layout(seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_so_it_is_in_ten_thousand_layouts(block: int) -> None:
    for seed in range(1000 + block * 1000, 2000 + block * 1000):
        _check_layout(seed)


@pytest.mark.parametrize("block", range(3))
def test_each_key_that_is_there_all_the_time_is_in_one_shard_and_its_scan_lists_it(block: int) -> None:
    for seed in range(block * 25, block * 25 + 25):
        _check_plan(seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_so_it_is_in_ten_thousand_plans(block: int) -> None:
    for seed in range(1000 + block * 1000, 2000 + block * 1000):
        _check_plan(seed)


def _check_plan(seed: int) -> None:
    chance = random.Random(seed)
    bucket, planner = ChangingBucket(layout_by_chance(chance), chance), Planner(chance.randint(1, 6))
    AnswersLater[Probe | FolderProbe, Page](1.0, chance.choice([1, 4])).run(planner.next, bucket.answer, planner.take)
    ranges = [shard.range for shard in planner.plan()]
    assert tiling_faults(ranges) == [], seed
    found = [key for one in ranges for key in bucket.scan(one)]
    assert len(set(found)) == len(found), seed
    assert bucket.always <= set(found) <= bucket.ever, seed
    assert all(sum(one.contains(key) for one in ranges) == 1 for key in bucket.ever), seed
