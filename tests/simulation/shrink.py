"""Makes a history that fails short: fewer faults, fewer objects, fewer consumers, and nothing that need not be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from simulation.history import check
from simulation.plan import Plan

_RESEEDS = 8
"""A change of the plan shifts every random delay after it, so each is tried with a few of them."""


def shrink(plan: Plan) -> Plan:
    """A history that fails still, and of which no part can be left out."""
    best = plan
    while smaller := next((found for candidate in _smaller(best) if (found := _failing(candidate))), None):
        best = smaller
    return best


def _failing(plan: Plan) -> Plan | None:
    seeds = (plan.rng_seed, *range(_RESEEDS))
    plans = (replace(plan, rng_seed=seed) for seed in seeds)
    return next((candidate for candidate in plans if check(candidate).violation), None)


def _smaller(plan: Plan) -> Iterator[Plan]:
    faults = plan.faults
    for index in range(len(faults)):
        yield replace(plan, faults=faults[:index] + faults[index + 1 :])
    count = len(plan.bodies)
    for keep in (count // 2, count - 1):
        if 0 <= keep < count:
            yield replace(
                plan,
                bodies=plan.bodies[:keep],
                stored=frozenset(number for number in plan.stored if number < keep),
                failed_before=frozenset(number for number in plan.failed_before if number < keep),
            )
    for index in range(len(plan.arrivals) if len(plan.arrivals) > 1 else 0):
        yield replace(plan, arrivals=plan.arrivals[:index] + plan.arrivals[index + 1 :])
    plain = Plan(plan.rng_seed, plan.bodies)
    for name in ("stored", "failed_before", "rescan", "retry_failed", "limit", "held_bytes", "error_budget"):
        if getattr(plan, name) != getattr(plain, name):
            yield replace(plan, **{name: getattr(plain, name)})
    if plan.batch_size > 1:
        yield replace(plan, batch_size=1)
    if plan.fetch_threads > 1:
        yield replace(plan, fetch_threads=1)
    images = tuple(b"image %d" % number for number in range(count))
    if plan.bodies != images:
        yield replace(plan, bodies=images)
