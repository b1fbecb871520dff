"""What a threshold means for reviewers: expected flags a night and how many are right; and the rules that choose it.

Only the rates at a threshold come from the test images; how rare drugs are and how many images come are assumed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from sniffer.core.errors import SettingsError
from sniffer_model.statistics.metrics import Ranking, Scores, Truth, Values, ratio


class ThresholdRule(StrEnum):
    """By what the threshold is chosen, on the validation split."""

    TARGET_PRECISION = "target_precision"
    CAPACITY = "capacity"


@dataclass(frozen=True, slots=True)
class ReviewPlan:
    """The assumptions about a night, and what its flags must keep to.

    `prevalence` is the share of drugs among a night's images; `capacity` is in reviews per night, None when unknown.
    """

    prevalence: float = 0.01
    nightly_volume: int = 100_000
    capacity: float | None = None
    target_precision: float = 0.95

    def __post_init__(self) -> None:
        # Written so that NaN is refused too.
        if not 0 < self.prevalence < 1:
            raise SettingsError(f"--prevalence must be between 0 and 1, not {self.prevalence:g}")
        if not self.nightly_volume > 0:
            raise SettingsError(f"--nightly-volume must be above 0, not {self.nightly_volume}")
        if self.capacity is not None and not self.capacity > 0:
            raise SettingsError(f"--capacity must be above 0, not {self.capacity:g}")
        if not 0 < self.target_precision <= 1:
            raise SettingsError(f"--target-precision must be above 0 and at most 1, not {self.target_precision:g}")

    @property
    def rule(self) -> ThresholdRule:
        """By capacity when there is one."""
        return ThresholdRule.TARGET_PRECISION if self.capacity is None else ThresholdRule.CAPACITY

    def in_words(self) -> str:
        """The rule that chooses the threshold, for people."""
        if self.capacity is not None:
            return (
                f"the lowest threshold whose expected flags per night, at a prevalence of {self.prevalence:g} among "
                f"{self.nightly_volume:,} images, are at most {self.capacity:g} by the rates on the validation split; "
                "half-way to the next lower score"
            )
        return (
            f"of the thresholds whose precision at a prevalence of {self.prevalence:g} reaches "
            f"{self.target_precision:g} by the rates on the validation split, the one with the most recall; of equals, "
            "the most precise; half-way to the next lower score"
        )


@dataclass(frozen=True, slots=True)
class NightlyLoad:
    """Expected numbers of one night, for rates of any shape."""

    flags: Values
    right: Values
    missed: Values
    precision: Values
    """NaN where nothing is flagged."""


@dataclass(frozen=True, slots=True)
class ThresholdChoice:
    """A threshold, and whether the rule's promise is kept on the data it was chosen on."""

    threshold: float
    rule: ThresholdRule
    kept: bool
    target_precision_reached: bool


def nightly_load(recall: Values, false_positive_rate: Values, plan: ReviewPlan) -> NightlyLoad:
    """Expected flags per night, those that are right, the drugs missed, and the flags' precision (Bayes)."""
    drugs = plan.nightly_volume * plan.prevalence
    right = drugs * recall
    flags = right + (plan.nightly_volume - drugs) * false_positive_rate
    return NightlyLoad(flags, right, drugs - right, ratio(right, flags))


def choose_threshold(truth: Truth, scores: Scores, plan: ReviewPlan) -> ThresholdChoice:
    """Choose by the plan's rule. When no threshold keeps to it, the one that comes nearest, with `kept` False.

    The threshold is put half-way to the next lower score, so that rounding a score on its way does not unflag it.
    Raises ValueError unless both classes are there.
    """
    ranking = Ranking(truth, scores)
    right, wrong = ranking.counts()
    load = nightly_load(right / right[-1], wrong / wrong[-1], plan)
    reached = load.precision >= plan.target_precision
    best, kept = _CHOOSERS[plan.rule](load, plan)
    values = ranking.thresholds
    lower = values[min(best + 1, len(values) - 1)]
    return ThresholdChoice(float((values[best] + lower) / 2), plan.rule, kept, bool(reached[best]))


def _by_target_precision(load: NightlyLoad, plan: ReviewPlan) -> tuple[int, bool]:
    reached = load.precision >= plan.target_precision
    if np.any(reached):
        # lexsort's last key is the first that counts.
        return int(np.lexsort((load.precision, np.where(reached, load.right, -1)))[-1]), True
    return int(np.lexsort((load.right, load.precision))[-1]), False


def _by_capacity(load: NightlyLoad, plan: ReviewPlan) -> tuple[int, bool]:
    # Flags never become fewer from step to step.
    fitting = int(np.searchsorted(load.flags, plan.capacity or 0, side="right"))
    return max(fitting - 1, 0), fitting > 0


_CHOOSERS: dict[ThresholdRule, Callable[[NightlyLoad, ReviewPlan], tuple[int, bool]]] = {
    ThresholdRule.TARGET_PRECISION: _by_target_precision,
    ThresholdRule.CAPACITY: _by_capacity,
}
