"""The night that a candidate is judged for: by the prevalence that audits have measured, else an assumed one. Pure."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from sniffer.core.model_metrics import IntervalEstimate, ModelMetrics, ReviewAssumptions
from sniffer.core.recall_records import MeasuredRecall
from sniffer_model.evaluation.figures import CONFIDENCE
from sniffer_model.statistics.review_load import BoundedNight, FlaggedCounts, ReviewPlan, bounded_night


@dataclass(frozen=True, slots=True)
class JudgedNight:
    """What the test split says of a night. `prevalence_from` says where the prevalence came from.

    `is_surprise`: the threshold was chosen for a prevalence that the audits exclude.
    """

    plan: ReviewPlan
    precision: IntervalEstimate | None
    flags: IntervalEstimate
    flags_per_false_alarm: float
    prevalence_from: str
    is_surprise: bool = False

    @property
    def assumptions(self) -> ReviewAssumptions:
        """The night as the evidence has it."""
        return ReviewAssumptions(self.plan.prevalence, self.plan.nightly_volume, self.plan.capacity)


def judged_night(metrics: ModelMetrics, plan: ReviewPlan, measured: MeasuredRecall | None) -> JudgedNight:
    """The figures of that plan's night. Where the prevalence is measured, it has an interval, and so has its share in
    theirs: each of their ends is at the end of it that is worse, or better."""
    found = None if measured is None else measured.figures.prevalence
    if measured is None or found is None or not 0 < found.low <= found.high < 1:
        night = metrics.test.night
        return JudgedNight(
            plan,
            night.precision,
            night.flags_per_night,
            metrics.test.flags_per_false_alarm,
            f"the prevalence of a night is assumed, {plan.prevalence:g}: {_why_assumed(measured)}",
            is_surprise=found is not None and not found.low <= plan.prevalence <= found.high,
        )
    at, low, high = (dataclasses.replace(plan, prevalence=share) for share in (found.value, found.low, found.high))
    middle, few, many = (_night(metrics, one) for one in (at, low, high))
    precision = None
    if not np.isnan(middle.precision.values):
        precision = IntervalEstimate(
            float(middle.precision.values), float(few.precision.low), float(many.precision.high)
        )
    counts = metrics.test.confusion
    return JudgedNight(
        at,
        precision,
        IntervalEstimate(float(middle.flags.values), float(few.flags.low), float(many.flags.high)),
        plan.nightly_volume * (1 - found.value) / (counts.false_positives + counts.true_negatives),
        f"the prevalence of a night is measured, {found.value:.3g} [{found.low:.3g}, {found.high:.3g}], by "
        f"{measured.figures.labels:,} labels of the nights {measured.first_night} to {measured.night}; the threshold "
        f"was chosen for {plan.prevalence:g}",
        is_surprise=not found.low <= plan.prevalence <= found.high,
    )


def _why_assumed(measured: MeasuredRecall | None) -> str:
    found = None if measured is None else measured.figures.prevalence
    if measured is None or found is None:
        return "no audit has measured it lately"
    return (
        f"{measured.figures.labels:,} labels of the nights {measured.first_night} to {measured.night} do not tell it "
        f"from {'0' if found.low <= 0 else '1'}, it is [{found.low:.3g}, {found.high:.3g}]"
    )


def _night(metrics: ModelMetrics, plan: ReviewPlan) -> BoundedNight:
    counts = metrics.test.confusion
    right, wrong = (np.array(float(count)) for count in (counts.true_positives, counts.false_positives))
    positives = counts.true_positives + counts.false_negatives
    negatives = counts.false_positives + counts.true_negatives
    return bounded_night(FlaggedCounts(right, wrong, positives, negatives), plan, CONFIDENCE)
