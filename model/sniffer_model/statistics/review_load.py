"""What a threshold means for reviewers: expected flags a night and how many are right; and the rules that choose it.

Only the rates at a threshold come from the test images; how rare drugs are and how many images come are assumed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from sniffer.core.errors import SettingsError
from sniffer_model.statistics.metrics import Band, Ranking, Scores, Truth, Values, ratio
from sniffer_model.statistics.shares import share

PLANNING_CONFIDENCE = 0.999
"""Of the intervals on the validation split by which the threshold is chosen. Stricter than those of the test split,
which must confirm it: at the same confidence every other threshold would fail there by chance."""


MOST_IMAGES = 10**12
"""A number of images a night above it is a slip of the keyboard."""


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
        if not 0 < self.nightly_volume <= MOST_IMAGES:
            raise SettingsError(f"--nightly-volume must be above 0 and at most {MOST_IMAGES:,}")
        if self.capacity is not None and not 0 < self.capacity <= MOST_IMAGES:
            raise SettingsError(f"--capacity must be above 0 and at most {MOST_IMAGES:,}, not {self.capacity:g}")
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
                f"{self.nightly_volume:,} images, are at most {self.capacity:g} by the upper end of the "
                f"{PLANNING_CONFIDENCE:.1%} interval on the validation split; half-way to the next lower score"
            )
        return (
            f"of the thresholds whose precision at a prevalence of {self.prevalence:g} reaches "
            f"{self.target_precision:g} by the lower end of the {PLANNING_CONFIDENCE:.1%} interval on the validation "
            "split, the one with the most recall; of equals, the most precise; half-way to the next lower score"
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
class FlaggedCounts:
    """Images of each class that are flagged, of any shape, and how many there are."""

    right: Values
    wrong: Values
    positives: float
    negatives: float


@dataclass(frozen=True, slots=True)
class BoundedNight:
    """One night's numbers with their intervals, of the shape of the counts; NaN precision where nothing is flagged."""

    flags: Band
    right: Band
    missed: Band
    precision: Band


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


def bounded_night(counts: FlaggedCounts, plan: ReviewPlan, confidence: float) -> BoundedNight:
    """What the counts of held-out images can say of a night. Each interval holds at least as often as it says.

    Where two rates count, the interval of each has half the error, and the ends are those of the worst and best case.
    """
    each = 1 - (1 - confidence) / 2
    recall = share(counts.right, np.array(counts.positives), confidence)
    hits, alarms = (
        share(flagged, np.array(whole), each)
        for flagged, whole in ((counts.right, counts.positives), (counts.wrong, counts.negatives))
    )
    seen = nightly_load(hits.values, alarms.values, plan)
    few, many = nightly_load(hits.low, alarms.low, plan), nightly_load(hits.high, alarms.high, plan)
    worst, best = nightly_load(hits.low, alarms.high, plan), nightly_load(hits.high, alarms.low, plan)
    drugs = plan.nightly_volume * plan.prevalence
    undefined = np.isnan(seen.precision)
    return BoundedNight(
        flags=Band(seen.flags, few.flags, many.flags),
        right=Band(seen.right, drugs * recall.low, drugs * recall.high),
        missed=Band(seen.missed, drugs * (1 - recall.high), drugs * (1 - recall.low)),
        precision=Band(
            seen.precision,
            np.where(undefined, np.nan, worst.precision),
            np.where(undefined, np.nan, best.precision),
        ),
    )


def choose_threshold(truth: Truth, scores: Scores, plan: ReviewPlan) -> ThresholdChoice:
    """Choose by the plan's rule. When no threshold keeps to it, the one that comes nearest, with `kept` False.

    The threshold is put half-way to the next lower score, so that rounding a score on its way does not unflag it.
    Raises ValueError unless both classes are there.
    """
    ranking = Ranking(truth, scores)
    right, wrong = ranking.counts()
    night = bounded_night(FlaggedCounts(right, wrong, right[-1], wrong[-1]), plan, PLANNING_CONFIDENCE)
    best, kept = _CHOOSERS[plan.rule](night, plan)
    values = ranking.thresholds
    lower = values[min(best + 1, len(values) - 1)]
    reached = bool(night.precision.low[best] >= plan.target_precision)
    return ThresholdChoice(float((values[best] + lower) / 2), plan.rule, kept, reached)


def _by_target_precision(night: BoundedNight, plan: ReviewPlan) -> tuple[int, bool]:
    least, right = night.precision.low, night.right.values
    reached = least >= plan.target_precision
    if np.any(reached):
        # lexsort's last key is the first that counts.
        return int(np.lexsort((night.precision.values, np.where(reached, right, -1)))[-1]), True
    return int(np.lexsort((right, least))[-1]), False


def _by_capacity(night: BoundedNight, plan: ReviewPlan) -> tuple[int, bool]:
    # Flags never become fewer from step to step.
    fitting = int(np.searchsorted(night.flags.high, plan.capacity or 0, side="right"))
    return max(fitting - 1, 0), fitting > 0


_CHOOSERS: dict[ThresholdRule, Callable[[BoundedNight, ReviewPlan], tuple[int, bool]]] = {
    ThresholdRule.TARGET_PRECISION: _by_target_precision,
    ThresholdRule.CAPACITY: _by_capacity,
}
