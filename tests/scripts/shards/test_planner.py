"""Shards of 100 million keys are of about the same size, whatever the keys look like, and few questions find them."""

from __future__ import annotations

import random
from bisect import bisect_right
from dataclasses import dataclass

import pytest
from support.virtual_bucket import LAYOUTS, AnswersLater, Page, VirtualBucket, Words

from sniffer.core.key_ranges import KeyRange, key_bytes, tiling_faults
from sniffer.shards import planner
from sniffer.shards.planner import PlannedShard, Planner
from sniffer.shards.planning import plan_shards
from sniffer.shards.stores import FolderProbe, Probe
from sniffer.shards.survey import KeySurvey

MANY = 100_000_000
SHARDS = 64


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", LAYOUTS)
def test_shards_are_equal_within_a_factor_of_3_and_cost_a_few_requests(name: str) -> None:
    _check_sizes(name, SHARDS)


@pytest.mark.slow
@pytest.mark.parametrize("shards", [16, 256])
@pytest.mark.parametrize("name", LAYOUTS)
def test_few_and_many_shards_are_equal_too(name: str, shards: int) -> None:
    # With 256 shards, those of the 61 small folders are a little more than a factor of 3 smaller, see docs/scale.md.
    _check_sizes(name, shards, 4 if (name, shards) == ("one large folder", 256) else 3)


@pytest.mark.slow
@pytest.mark.parametrize(("shards", "seed"), [(16, 5), (64, 1), (64, 5), (256, 3), (256, 5)])
def test_what_one_folder_alone_has_is_found_by_other_choices_too(
    shards: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its hex digits were taken for the decimals of the folders around it: one shard was 7 to 96 times as large as it
    # should be.
    monkeypatch.setattr(planner, "_SEED", seed)
    _check_sizes("one large folder", shards, 4 if shards == 256 else 3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_keys_behind_one_long_beginning_are_found_by_other_choices_too(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Seed 2: a page's keys were too close to each other to be counted, and 99 % of all were taken for a hundred keys.
    monkeypatch.setattr(planner, "_SEED", seed)
    _check_sizes("one large beginning", 256)


def _check_sizes(name: str, wanted: int, factor: float = 3) -> None:
    bucket = VirtualBucket(LAYOUTS[name](MANY))
    cut = Planner(wanted)
    clock = AnswersLater[Probe | FolderProbe, Page](0.075, 32)
    clock.run(cut.next, bucket.answer, cut.take)
    shards = cut.plan()
    assert tiling_faults(shard.range for shard in shards) == []
    sizes = _sizes(shards, bucket)
    assert len(sizes) == wanted and max(sizes) <= factor * min(sizes), sizes
    assert clock.requests <= 4 * wanted + 200 and clock.now_s < 60
    ends = [shard.range.up_to for shard in shards[:-1]]
    assert all(end is not None and bucket.layout.key(bucket.layout.up_to(end) - 1) == end for end in ends)


def _sizes(shards: list[PlannedShard], bucket: VirtualBucket) -> list[int]:
    ends = [bucket.layout.up_to(shard.range.up_to) for shard in shards[:-1] if shard.range.up_to is not None]
    return [high - low for low, high in zip([0, *ends], [*ends, bucket.layout.count], strict=True)]


@pytest.mark.parametrize(("keys", "shards"), [(0, 4), (1, 4), (3, 8), (1000, 4), (1001, 4), (30_000, 8)])
def test_small_buckets_are_known_well_and_cut_as_far_as_they_go(keys: int, shards: int) -> None:
    bucket = VirtualBucket(Words("", "0123456789", 8, keys)) if keys else None
    plan = plan_shards(bucket or _Stored([]), "", shards)
    assert tiling_faults(shard.range for shard in plan.shards) == []
    assert len(plan.shards) == max(1, min(shards, keys)) and plan.warning == ""
    assert plan.keys == pytest.approx(keys, rel=0.05)
    if bucket is not None:
        sizes = _sizes(list(plan.shards), bucket)
        assert max(sizes) <= 2 * min(sizes) + 1


@dataclass
class _Stored:
    """A store that lists what it is given, in that order, by small pages."""

    keys: list[str]
    ignores_after: bool = False

    def keys_after(self, prefix: str, after: str) -> Page:
        start = 0 if self.ignores_after else bisect_right(sorted(self.keys), after)
        page = self.keys[start : start + 10]
        return Page(page, start + 10 >= len(self.keys))

    def folders(self, prefix: str) -> Page:
        return Page((), True)


@pytest.mark.parametrize("ignores_after", [True, False])
def test_a_store_that_does_not_list_in_order_gets_one_shard_and_a_warning(ignores_after: bool) -> None:
    keys = [f"{number:04}" for number in range(500)]
    if not ignores_after:
        random.Random(1).shuffle(keys)
    plan = plan_shards(_Stored(keys, ignores_after), "", 8)
    assert [shard.range for shard in plan.shards] == [KeyRange()]
    assert ("ignores where" if ignores_after else "lists in no order") in plan.warning


def test_an_error_of_the_store_ends_the_planning() -> None:
    class Broken(_Stored):
        def keys_after(self, prefix: str, after: str) -> Page:
            raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        plan_shards(Broken([]), "", 2)


def test_between_two_ends_of_a_page_is_no_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Much is before the page and behind it, and no key is known where that could be cut."""
    cut = Planner(4)
    survey = cut._survey
    for after, keys in (("", [f"a{n:02}" for n in range(8)]), ("m", [f"m{n:02}" for n in range(8)])):
        survey.add(after, keys, is_last=False)
    for gap in survey.gaps():
        survey.total += 1000 - gap.keys
        gap.keys = 1000.0
    monkeypatch.setattr(KeySurvey, "measure", lambda *_, is_last: None)
    shards = cut.plan()
    assert tiling_faults(shard.range for shard in shards) == []
    assert min(shard.keys for shard in shards) > 500, shards


def test_no_range_ends_at_a_key_that_no_command_line_or_request_can_hold() -> None:
    keys = sorted(
        (f"{number:04}{end}" for number in range(300) for end in ("\x00", "\n", "\udcff", "ok")), key=key_bytes
    )
    plan = plan_shards(_Stored(keys), "", 6)
    assert len(plan.shards) == 6
    assert all(shard.range.up_to is None or shard.range.up_to.endswith("ok") for shard in plan.shards)
