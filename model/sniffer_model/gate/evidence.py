"""What the held-out images must be able to show of a night before a candidate is blessed. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from sniffer.core.gate_records import Check, GateEvidence, GateFigures
from sniffer.core.model_metrics import IntervalEstimate
from sniffer.core.model_records import LABELS
from sniffer_model.data.manifest import Split
from sniffer_model.gate.limits import Limits
from sniffer_model.statistics.review_load import ThresholdRule
from sniffer_model.statistics.shares import images_needed

_OTHER, _DRUGS = LABELS


def laxer_limits(limits: Limits) -> Iterator[Check]:
    """A warning when less is asked for than by default."""
    if laxer := limits.laxer():
        named = ", ".join(f"{name} {own:g} (default {usual:g})" for name, (own, usual) in laxer.items())
        yield Check("laxer_limits", True, f"judged by laxer limits than the defaults: {named}", warning=True)


def evidence_checks(figures: GateFigures, evidence: GateEvidence, limits: Limits) -> Iterator[Check]:
    """The rules on the images held out, the rates at the threshold, and what these say of a night."""
    if evidence.prevalence_from:
        yield Check("prevalence", True, evidence.prevalence_from, warning=evidence.prevalence_is_surprise)
    yield _class_images(evidence, limits)
    yield from _recall(figures, evidence, limits)
    if limits.min_nightly_precision is not None:
        yield _precision_at_least("nightly_precision", evidence, limits.min_nightly_precision, "the limit")
    kept = "kept" if figures.threshold_rule_kept else "NOT kept by any threshold"
    reason = f"the threshold's rule is {kept} on the validation split: {figures.threshold_rule}"
    yield Check("threshold_rule", figures.threshold_rule_kept, reason)
    yield _resolution(evidence, limits)
    if evidence.threshold_by == ThresholdRule.TARGET_PRECISION:
        yield _precision_at_least("target_on_test", evidence, evidence.target_precision, "the target")
    yield _capacity(evidence, limits)


def _class_images(evidence: GateEvidence, limits: Limits) -> Check:
    held_out = [
        (evidence.class_images[split][label], f"{evidence.class_images[split][label]} {label} ({split})")
        for split in (Split.VALIDATION, Split.TEST)
        for label in LABELS
    ]
    few = [words for images, words in held_out if images < limits.min_class_images]
    if few:
        return Check(
            "class_images",
            False,
            f"too few images to judge by: {', '.join(few)}; each class needs {limits.min_class_images} in the "
            "validation and in the test split, of near-duplicates one each: add labelled images",
        )
    counted = ", ".join(words for _, words in held_out)
    return Check("class_images", True, f"each class has at least {limits.min_class_images} held-out images: {counted}")


def _recall(figures: GateFigures, evidence: GateEvidence, limits: Limits) -> Iterator[Check]:
    if not figures.recall:
        yield Check("recall", False, "nothing is found: no drugs of the test split are flagged at the threshold")
    elif limits.min_recall is not None:
        passed = evidence.recall.low >= limits.min_recall
        words = "at least" if passed else "not shown to be at least"
        yield Check("recall", passed, f"recall is {words} {limits.min_recall:g}: {_spread(evidence.recall)}")


def _precision_at_least(rule: str, evidence: GateEvidence, minimum: float, name: str) -> Check:
    found = evidence.nightly_precision
    if found is None:
        return Check(
            rule, False, f"precision of a night's flags is undefined: nothing is flagged; {name} is {minimum:g}"
        )
    passed = found.low >= minimum
    words = "at least" if passed else "not shown to be at least"
    return Check(
        rule,
        passed,
        f"precision of a night's flags is {words} {name}, {minimum:g}, on the test split: {_spread(found)}",
    )


def _resolution(evidence: GateEvidence, limits: Limits) -> Check:
    """Whether one false alarm more or less among the test images would decide about the night."""
    others = evidence.class_images[Split.TEST][_OTHER]
    stands_for = (
        f"one false alarm among the {others:,} test images of {_OTHER} stands for "
        f"{evidence.flags_per_false_alarm:,.0f} flags per night"
    )
    allowed = _false_alarms_allowed(evidence, limits)
    if evidence.flags_per_false_alarm <= allowed:
        return Check("resolution", True, f"{stands_for}; no finer figure can be known")
    words = f"{stands_for}, more than the {allowed:,.0f} false alarms that {_rule_in_words(evidence)} leaves room for"
    night = evidence.night.nightly_volume * (1 - evidence.night.prevalence)
    if allowed <= 0:
        return Check("resolution", False, f"{words}: no number of images shows that; ask for less")
    # Two rates decide about a night, and each has half of the error.
    needed = images_needed(allowed / night, 1 - (1 - evidence.confidence) / 2)
    return Check(
        "resolution",
        False,
        f"{words}: it takes about {needed:,} test images of {_OTHER} without a false alarm to show that; "
        "hold out more, or ask for less",
    )


def _false_alarms_allowed(evidence: GateEvidence, limits: Limits) -> float:
    """False alarms a night that the rule leaves room for, were every rate as it was seen."""
    night = evidence.night
    right = night.nightly_volume * night.prevalence * evidence.recall.value
    if night.capacity is not None:
        return max(0.0, night.capacity * (1 + limits.capacity_tolerance) - right)
    return right * (1 - evidence.target_precision) / evidence.target_precision


def _rule_in_words(evidence: GateEvidence) -> str:
    if evidence.night.capacity is not None:
        return f"a capacity of {evidence.night.capacity:,.0f}"
    return f"a precision of {evidence.target_precision:g}"


def _capacity(evidence: GateEvidence, limits: Limits) -> Check:
    flags, capacity = evidence.flags_per_night, evidence.night.capacity
    expected = (
        f"{flags.value:,.0f} flags per night are expected, at most {flags.high:,.0f} by the test split's "
        f"{evidence.confidence:.0%} interval"
    )
    if capacity is None:
        return Check("capacity", True, f"{expected}; no capacity was given to hold them against")
    most = capacity * (1 + limits.capacity_tolerance)
    passed = flags.high <= most
    words = "which is within" if passed else "which is more than"
    return Check(
        "capacity",
        passed,
        f"{expected}, {words} {most:,.0f}: the reviewers' {capacity:,.0f} and {limits.capacity_tolerance:.0%}",
    )


def _spread(found: IntervalEstimate) -> str:
    return f"{found.value:.4f} [{found.low:.4f}, {found.high:.4f}]"
