"""Shards by hints tile all keys and end at the store's own keys, whatever the hints are; good hints make equal ones."""

from __future__ import annotations

import tracemalloc
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.virtual_bucket import Page, VirtualBucket, days

from sniffer.core.key_ranges import key_bytes, tiling_faults
from sniffer.shards.hints import KeyHints, plan_by_hints, sample_keys


@dataclass
class _Stored:
    """A store that lists what it is given by small pages."""

    keys: Sequence[str]
    is_sorted: bool = True

    def keys_after(self, prefix: str, after: str) -> Page:
        start = bisect_right(self.keys, key_bytes(after), key=key_bytes) if self.is_sorted else 0
        return Page(self.keys[start : start + 3], start + 3 >= len(self.keys))

    def folders(self, prefix: str) -> Page:
        raise AssertionError("nobody asks for folders")


def hints_of(keys: Sequence[str], size: int = 100_000) -> KeyHints:
    return sample_keys([[key_bytes(key) for key in keys]], size)


_KEYS = st.lists(st.text(min_size=1, max_size=6), unique=True, max_size=40)


@given(_KEYS, st.lists(st.binary(min_size=1, max_size=9), max_size=40), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_any_hints_tile_all_keys_with_the_stores_own_keys(kept: list[str], told: list[bytes], shards: int) -> None:
    keys = sorted((key for key in kept if key.encode(errors="ignore").decode() == key), key=key_bytes)
    plan = plan_by_hints(_Stored(keys), "", KeyHints(sorted(told), len(told)), shards)
    assert tiling_faults(shard.range for shard in plan.shards) == []
    assert len(plan.shards) <= shards and bool(plan.warning) == (len(plan.shards) < shards)
    ends = [shard.range.up_to for shard in plan.shards[:-1]]
    assert set(ends) <= set(keys[:-1])
    assert sum(sum(shard.range.contains(key) for shard in plan.shards) for key in keys) == len(keys)


def test_true_hints_make_equal_shards_by_one_request_each() -> None:
    bucket = VirtualBucket(days(10_000_000, range(2020, 2027)))
    sampled = [[key_bytes(bucket.layout.key(rank)) for rank in range(at, bucket.layout.count, 1_000)] for at in (0, 7)]
    plan = plan_by_hints(bucket, "", sample_keys(sampled, 8_000), 256)
    ends = [bucket.layout.up_to(shard.range.up_to) for shard in plan.shards if shard.range.up_to is not None]
    sizes = [high - low for low, high in zip([0, *ends], [*ends, bucket.layout.count], strict=True)]
    assert len(sizes) == 256 and max(sizes) <= 3 * min(sizes) and plan.warning == ""
    assert plan.requests == bucket.requests == 255


def test_a_sample_is_even_and_the_same_each_time_and_bounded() -> None:
    def batches() -> list[range]:
        return [range(start, start + 10_000) for start in range(0, 400_000, 10_000)]

    class Lazy(Sequence[bytes]):
        def __init__(self, numbers: range) -> None:
            self._numbers = numbers

        def __len__(self) -> int:
            return len(self._numbers)

        def __getitem__(self, at: int) -> bytes:  # type: ignore[override]
            return f"{self._numbers[at]:09}".encode()

    tracemalloc.start()
    first = sample_keys((Lazy(numbers) for numbers in batches()), 20_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert first.stand_for == 400_000 and len(first.keys) == 20_000 == len(set(first.keys))
    tenths = [sum(at * 40_000 <= int(key) < (at + 1) * 40_000 for key in first.keys) for at in range(10)]
    assert min(tenths) > 1_800 and max(tenths) < 2_200, tenths
    assert peak < 4 << 20
    assert sample_keys([Lazy(range(0, 2_000)), Lazy(range(2_000, 5_000))], 100) == sample_keys(
        [Lazy(range(5_000))], 100
    )


@pytest.mark.parametrize("told", [["zz"] * 20, ["0"] * 20, [f"x{at}" for at in range(20)]])
def test_hints_of_other_keys_make_fewer_shards_and_a_warning(told: list[str]) -> None:
    plan = plan_by_hints(_Stored([f"k{at:03}" for at in range(100)]), "", hints_of(told), 8)
    assert tiling_faults(shard.range for shard in plan.shards) == []
    assert len(plan.shards) <= 2 and "in place of 8" in plan.warning


def test_a_store_that_ignores_where_a_listing_begins_gets_one_shard() -> None:
    plan = plan_by_hints(_Stored([f"k{at}" for at in range(9)], is_sorted=False), "", hints_of(["k3", "k5", "k7"]), 3)
    assert len(plan.shards) == 1 and "ignores where" in plan.warning


def test_hints_cut_where_no_range_can_end_give_the_next_key_that_can() -> None:
    keys = ["a\nb", "a\nc", "b b", "c+%20", "d/ü", "e"]
    plan = plan_by_hints(_Stored(keys), "", hints_of(["a\na", "a\nb", "a\nc", "b b"]), 4)
    assert [shard.range.up_to for shard in plan.shards] == ["b b", None]
    assert tiling_faults(shard.range for shard in plan.shards) == []
