"""The model card: the figures of metrics.json for people, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from sniffer.core.model_metrics import ModelMetrics
from sniffer.core.model_records import LABELS, MODEL_NAME
from sniffer.core.text import markdown_text
from sniffer_model.data.manifest import Split

_FIGURES = {
    "pr_auc": "PR-AUC",
    "roc_auc": "ROC-AUC",
    "precision": "precision at the threshold",
    "recall": "recall at the threshold",
    "log_loss": "log loss, calibrated",
    "calibration_error": "expected calibration error",
}


def model_card(metrics: ModelMetrics) -> str:
    """The card's text; the same figures give the same text."""
    return "\n".join(
        [
            f"# {MODEL_NAME}",
            "",
            "Scores images for illegal-drug content: the probability of the class "
            f"`{LABELS[1]}` against `{LABELS[0]}`, by ResNet50 with a trained two-class softmax.",
            "For ranking images that people then review; not for deciding about people.",
            "",
            *_quality(metrics),
            "",
            *_origin(metrics),
            "",
        ]
    )


def _quality(metrics: ModelMetrics) -> list[str]:
    test = metrics.test
    counts = test.confusion
    kept = "kept" if metrics.threshold_rule_kept else "NOT kept"
    return [
        f"## Quality on the {_count(metrics, Split.TEST)} held-out test images",
        "",
        f"| figure | value, {metrics.bootstrap.confidence:.0%} interval |",
        "|---|---|",
        *(
            f"| {title} | {_figure(getattr(test, name))}{_interval(getattr(test.intervals, name))} |"
            for name, title in _FIGURES.items()
        ),
        "",
        "|  | flagged | not flagged |",
        "|---|---|---|",
        f"| {LABELS[1]} | {counts.true_positives} | {counts.false_negatives} |",
        f"| {LABELS[0]} | {counts.false_positives} | {counts.true_negatives} |",
        "",
        f"Threshold {metrics.threshold:.6f}: {metrics.threshold_rule}. The rule is {kept} on the validation split.",
        f"Scores are calibrated with temperature {metrics.temperature:.4f}, fitted on the validation split: a "
        f"score is the probability of `{LABELS[1]}` where both classes are equally likely beforehand.",
        "",
        *_night(metrics),
    ]


def _night(metrics: ModelMetrics) -> list[str]:
    review, night = metrics.review, metrics.test.night
    precision, least = (None, None) if night.precision is None else (night.precision.value, night.precision.low)
    return [
        f"## A night of {review.nightly_volume:,} images, a share of {review.prevalence:g} of them "
        f"`{LABELS[1]}` (both assumed)",
        "",
        f"Expected: {night.flags_per_night.value:,.0f} flags (at most {night.flags_per_night.high:,.0f} by their "
        f"interval), a share of {_figure(precision)} of them right (at least {_figure(least)}); "
        f"{night.missed.value:,.0f} `{LABELS[1]}` missed. One false alarm among the test images stands for "
        f"{metrics.test.flags_per_false_alarm:,.0f} flags per night: no finer figure can be known.",
    ]


def _origin(metrics: ModelMetrics) -> list[str]:
    rows = [
        f"| {split} | " + " | ".join(str(metrics.sizes[split][label]) for label in LABELS) + " |" for split in Split
    ]
    return [
        "## Where it comes from",
        "",
        "| images | " + " | ".join(LABELS) + " |",
        "|---|" + "---|" * len(LABELS),
        *rows,
        "",
        f"- Manifest: `{metrics.manifest_digest}`; {metrics.images_left_out} of its images could not be used",
        f"- Backbone weights: **{markdown_text(metrics.backbone.weights)}**, digest `{metrics.backbone.digest}`",
        f"- Preprocessing: `{metrics.preprocessing_version}`; seed {metrics.seed}; "
        f"bootstrap: {metrics.bootstrap.resamples} draws, seed {metrics.bootstrap.seed}",
    ]


def _count(metrics: ModelMetrics, split: Split) -> int:
    return sum(metrics.sizes[split].values())


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _interval(ends: Sequence[float] | None) -> str:
    return "" if ends is None else f" [{ends[0]:.4f}, {ends[1]:.4f}]"
