"""Scans in shards: how often one is held wrongly, into however many shards it is cut, and that a flood is caught."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from sniffer.core.flag_records import FlagCounts, FloodRule
from sniffer.core.plan_flags import PlanCounts, PlanPast, ShardFlags
from sniffer.scan.flood import FALSE_ALARMS, hold_reason
from sniffer.scan.plan_flood import (
    SHARDS_DIFFER,
    expected_images,
    shard_early_reason,
    shard_hold_reason,
    whole_early_reason,
    whole_hold_reason,
)

AUTO = FloodRule()
USUAL = tuple(FlagCounts(50_000, 500 + number) for number in range(-5, 5))
"""Ten nights of about 1 %."""
SEED = 11


def past(shard: int = 0, part: int = 0) -> PlanPast:
    return PlanPast("plan", USUAL, (), shard, part)


def plan(*shards: tuple[int, int], keys: int = 1000, left: int = 0) -> PlanCounts:
    """Shards that have ended with so many scored and flagged images, and some that nobody has begun."""
    ended = [ShardFlags(number, keys, True, FlagCounts(*counts)) for number, counts in enumerate(shards, 1)]
    rest = [ShardFlags(len(shards) + number, keys, False, FlagCounts(0, 0)) for number in range(1, left + 1)]
    return PlanCounts((*ended, *rest))


def is_held(before: PlanPast, counts: PlanCounts) -> bool:
    """Whether all shards together, or one of them, are held at its end."""
    alone = (
        shard_hold_reason(
            AUTO, PlanPast("plan", before.history, before.past_shards, each.shard, 1), counts, each.counts
        )
        for each in counts.shards
    )
    return bool(whole_hold_reason(AUTO, before, counts)) or any(alone)


def alone(before: PlanPast, counts: PlanCounts) -> bool:
    """What was done before: each shard is judged as if it were a scan."""
    return any(hold_reason(AUTO, before.history, each.counts) for each in counts.shards)


def alarms(
    judge: Callable[[PlanPast, PlanCounts], bool], shards: int, plans: int, *, share: float = 0.01, differ: float = 1.0
) -> float:
    """How many of the plans are held that are like the past. On the scale of the log-odds days differ by 0.5, and the
    shards of a bucket, each of which is every day as it is, by `differ`."""
    rng = np.random.default_rng(SEED)

    def day(bucket: np.ndarray, images: int) -> list[FlagCounts]:
        odds = math.log(share / (1 - share)) + 0.5 * rng.standard_normal() + bucket
        flagged = rng.binomial(images, 1 / (1 + np.exp(-odds)))
        return [FlagCounts(images, int(count)) for count in flagged]

    def total(counts: list[FlagCounts]) -> FlagCounts:
        return FlagCounts(sum(one.scored for one in counts), sum(one.flagged for one in counts))

    held = 0
    for _ in range(plans):
        bucket = differ * rng.standard_normal(shards)
        before = [day(bucket, 1000) for _ in range(8)]
        counts = plan(*((one.scored, one.flagged) for one in day(bucket, 1000)))
        history = PlanPast("plan", tuple(map(total, before)), tuple(map(tuple, before[:3])))
        held += judge(history, counts)
    return held / plans


@pytest.mark.parametrize(("shards", "plans"), [(4, 60), (64, 30), (1000, 1)])
def test_usual_plans_are_not_held_into_however_many_shards_they_are_cut(shards: int, plans: int) -> None:
    assert alarms(is_held, shards, plans) == 0
    if shards == 1000:
        assert alarms(alone, shards, plans) > 0.5, "the simulation shows what it is about"


@pytest.mark.parametrize("differ", [2.0, 3.0])
def test_shards_that_differ_more_widen_their_band_by_themselves(differ: float) -> None:
    assert alarms(is_held, 64, 12, share=0.002, differ=differ) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("shards", "plans"), [(8, 6000), (64, 3000)])
def test_the_rate_of_false_holds_over_many_plans(shards: int, plans: int) -> None:
    assert alarms(is_held, shards, plans) <= 1.5 * FALSE_ALARMS


def test_one_shard_that_floods_is_caught_though_the_whole_is_as_usual() -> None:
    for shards in (8, 64, 1000):
        counts = plan(*[(5000, 50)] * (shards - 1), left=1)
        asking = past(shard=shards, part=1)
        full = FlagCounts(5000, 4900)
        assert shard_hold_reason(AUTO, asking, counts, FlagCounts(5000, 500)) == ""
        assert shard_hold_reason(AUTO, asking, counts, FlagCounts(199, 199)) == ""
        reason = shard_hold_reason(AUTO, asking, counts, full)
        assert reason.startswith(f"of shard {shards} of {shards}, 4,900 of 5,000 scored images are flagged (98.00%)")
    assert whole_hold_reason(AUTO, past(), plan(*[(5000, 50)] * 999, (5000, 4900))) == ""


def test_one_shard_that_floods_is_caught_before_its_end() -> None:
    counts = plan((1000, 10), (1000, 10), left=62, keys=1000)
    asking = past(shard=3, part=1)
    assert shard_early_reason(AUTO, asking, counts, FlagCounts(300, 290), 300) == "", "700 more may come"
    assert "of shard 3 of 64, 900 of 910" in shard_early_reason(AUTO, asking, counts, FlagCounts(910, 900), 300)
    assert shard_early_reason(AUTO, asking, counts, FlagCounts(910, 900), 100_000) == "", "more are listed than planned"


def test_a_shard_of_unknown_size_is_no_flood_for_what_comes_first() -> None:
    """A plan of one shard for a store that lists in no order has no sizes: other scans tell how large it may be."""
    unknown = plan(left=1, keys=0)
    assert shard_early_reason(AUTO, past(1, 1), unknown, FlagCounts(300, 300), 300) == ""
    assert shard_early_reason(AUTO, past(1, 1), unknown, FlagCounts(48_000, 48_000), 300) != ""


def test_shards_too_small_for_a_verdict_are_judged_together() -> None:
    flood = plan(*[(150, 60)] * 64)
    assert not any(shard_hold_reason(AUTO, past(each.shard, 1), flood, each.counts) for each in flood.shards)
    assert whole_hold_reason(AUTO, past(), flood).startswith("of all 64 shards together, 3,840 of 9,600 scored images")
    silence = plan(*[(1000, 0)] * 64)
    assert "below the expected" in whole_hold_reason(AUTO, past(), silence)
    assert not any(shard_hold_reason(AUTO, past(each.shard, 1), silence, each.counts) for each in silence.shards)


def test_the_whole_is_caught_as_it_goes_once_nothing_to_come_can_undo_it() -> None:
    begun = plan(*[(1000, 400)] * 4, left=60)
    assert whole_early_reason(AUTO, past(), begun, 0) == "", "60,000 more may come"
    assert "of all 64 shards together, 12,000 of 30,000" in whole_early_reason(
        AUTO, past(), plan(*[(1000, 400)] * 30, left=34), 0
    )
    # Most keys are known, as in each night's scan without a window: what comes is as little as what came.
    few = plan(*[(150, 60)] * 40, left=24, keys=100_000)
    small = PlanPast("plan", tuple(FlagCounts(9000, 90 + number) for number in range(10)), ())
    assert "2,400 of 6,000" in whole_early_reason(AUTO, small, few, 0)
    assert whole_early_reason(AUTO, small, few, 1_000_000) != "", "what is coming is of a shard that is none of these"
    assert whole_early_reason(AUTO, past(shard=64), few, 1_000_000) == ""


def test_what_may_come_is_no_more_than_was_planned_nor_less_than_is_known() -> None:
    assert expected_images(plan(left=2)) == {1: 1000, 2: 1000}
    assert expected_images(plan((10, 0), left=2, keys=1000)) == {1: 10, 2: 30, 3: 30}
    assert expected_images(plan((900, 0), left=1)) == {1: 900, 2: 1000}
    running = PlanCounts((ShardFlags(1, 1000, False, FlagCounts(1500, 0)), ShardFlags(2, 0, False, FlagCounts(0, 0))))
    assert expected_images(running, 2, 70) == {1: 1500, 2: 70}


def test_bounds_of_a_person_are_for_the_whole_and_no_past_of_another_threshold_counts() -> None:
    counts = plan((1000, 60), (1000, 0))
    bounds = FloodRule.parse("0..0.05")
    assert whole_hold_reason(bounds, past(), counts) == ""
    assert shard_hold_reason(bounds, past(1, 1), counts, FlagCounts(1000, 1000)) == ""
    assert "the bounds given" in whole_hold_reason(bounds, past(), plan((1000, 200), (1000, 0)))
    mixed = PlanCounts(plan(*[(1000, 900)] * 8).shards, is_mixed=True)
    assert whole_hold_reason(AUTO, past(), mixed) == ""
    assert shard_hold_reason(AUTO, past(1, 1), mixed, FlagCounts(1000, 900)) == ""
    off = FloodRule.parse("off")
    assert whole_hold_reason(off, past(), counts) == whole_early_reason(off, past(), counts, 0) == ""
    assert shard_hold_reason(off, past(1, 1), counts, FlagCounts(1000, 1000)) == ""


def test_further_parts_of_a_shard_take_nothing_from_the_others() -> None:
    counts, part = plan(*[(5000, 50)] * 64), FlagCounts(5000, 3600)
    held = [bool(shard_hold_reason(AUTO, past(1, number), counts, part)) for number in (1, 2, 30)]
    assert held[0] and held == sorted(held, reverse=True)
    assert SHARDS_DIFFER >= 1
