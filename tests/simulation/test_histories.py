"""Some two thousand histories of a small fleet, each decided by its seed. `make simulate` plays as many as wanted."""

from __future__ import annotations

import pytest

from simulation.history import check
from simulation.plan import FaultKind, plan_of

BLOCK = 150


@pytest.mark.parametrize("block", range(14))
def test_whatever_goes_wrong_every_image_is_accounted_for_and_the_scan_ends(block: int) -> None:
    seeds = range(block * BLOCK, (block + 1) * BLOCK)
    failed = {seed: violation for seed in seeds if (violation := check(plan_of(seed)).violation)}
    assert not failed, f"replay one with `make simulate SEED={next(iter(failed))}`"


def test_a_seed_decides_everything() -> None:
    for seed in range(40, 60):
        one, other = (check(plan_of(seed), tell=True) for _ in range(2))
        assert one.ended_at == other.ended_at
        assert len(one.lines) == len(other.lines)


def test_the_seeds_of_the_suite_bring_every_kind_of_fault_and_of_request() -> None:
    plans = [plan_of(seed) for seed in range(14 * BLOCK)]
    assert {fault.kind for plan in plans for fault in plan.faults} == set(FaultKind)
    assert any(plan.rescan for plan in plans)
    assert any(plan.retry_failed for plan in plans)
    assert any(plan.limit for plan in plans)
    assert any(not plan.faults for plan in plans)
