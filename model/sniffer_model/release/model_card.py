"""The model card: metrics.json told for people, in Markdown. Says nothing that metrics.json does not hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sniffer.core.model_records import LABELS, MODEL_NAME
from sniffer_model.data.manifest import Split

_FIGURES = {
    "pr_auc": "PR-AUC",
    "roc_auc": "ROC-AUC",
    "precision": "precision at the threshold",
    "recall": "recall at the threshold",
    "log_loss": "log loss, calibrated",
    "calibration_error": "expected calibration error",
}


def model_card(document: Mapping[str, Any]) -> str:
    """The card's text; the same figures give the same text."""
    return "\n".join(
        [
            f"# {MODEL_NAME}",
            "",
            "Scores images for illegal-drug content: the probability of the class "
            f"`{LABELS[1]}` against `{LABELS[0]}`, by ResNet50 with a trained two-class softmax.",
            "For ranking images that people then review; not for deciding about people.",
            "",
            *_quality(document),
            "",
            *_origin(document),
            "",
        ]
    )


def _quality(document: Mapping[str, Any]) -> list[str]:
    test = document[Split.TEST]
    counts = test["confusion"]
    kept = "kept" if document["threshold_rule_kept"] else "NOT kept"
    return [
        f"## Quality on the {_count(document, Split.TEST)} held-out test images",
        "",
        f"| figure | value, {document['bootstrap']['confidence']:.0%} interval |",
        "|---|---|",
        *(
            f"| {title} | {_figure(test[name])}{_interval(test['intervals'][name])} |"
            for name, title in _FIGURES.items()
        ),
        "",
        "|  | flagged | not flagged |",
        "|---|---|---|",
        f"| {LABELS[1]} | {counts['true_positives']} | {counts['false_negatives']} |",
        f"| {LABELS[0]} | {counts['false_positives']} | {counts['true_negatives']} |",
        "",
        f"Threshold {document['threshold']:.6f}: {document['threshold_rule']}. "
        f"The rule is {kept} on the validation split.",
        f"Scores are calibrated with temperature {document['temperature']:.4f}, fitted on the validation split: a "
        f"score is the probability of `{LABELS[1]}` where both classes are equally likely beforehand.",
        "",
        *_night(document),
    ]


def _night(document: Mapping[str, Any]) -> list[str]:
    review, night = document["review"], document[Split.TEST]["night"]
    precision = night["precision"] and night["precision"]["value"]
    return [
        f"## A night of {review['nightly_volume']:,} images, a share of {review['prevalence']:g} of them "
        f"`{LABELS[1]}` (both assumed)",
        "",
        f"Expected: {night['flags_per_night']['value']:,.0f} flags, a share of {_figure(precision)} of them right; "
        f"{night['missed']['value']:,.0f} `{LABELS[1]}` missed. One false alarm among the test images stands for "
        f"{document[Split.TEST]['flags_per_false_alarm']:,.0f} flags per night: finer than that, nothing is known.",
    ]


def _origin(document: Mapping[str, Any]) -> list[str]:
    rows = [
        f"| {split} | " + " | ".join(str(document["sizes"][split][label]) for label in LABELS) + " |" for split in Split
    ]
    return [
        "## Where it comes from",
        "",
        "| images | " + " | ".join(LABELS) + " |",
        "|---|" + "---|" * len(LABELS),
        *rows,
        "",
        f"- Manifest: `{document['manifest_digest']}`; {document['images_left_out']} of its images could not be used",
        f"- Backbone weights: **{document['backbone']['weights']}**, digest `{document['backbone']['digest']}`",
        f"- Preprocessing: `{document['preprocessing_version']}`; seed {document['seed']}; "
        f"bootstrap: {document['bootstrap']['resamples']} draws, seed {document['bootstrap']['seed']}",
    ]


def _count(document: Mapping[str, Any], split: Split) -> int:
    return sum(document["sizes"][split].values())


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _interval(ends: Sequence[float] | None) -> str:
    return "" if ends is None else f" [{ends[0]:.4f}, {ends[1]:.4f}]"
