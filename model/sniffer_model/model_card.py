"""The model card: metrics.json told for people, in Markdown. Says nothing that metrics.json does not hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sniffer.contracts import LABELS, MODEL_NAME
from sniffer_model.manifest import Split


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
    reached = "reached" if document["target_precision_reached"] else "NOT reached"
    return [
        f"## Quality on the {_count(document, Split.TEST)} held-out test images",
        "",
        "| figure | value |",
        "|---|---|",
        f"| PR-AUC | {_figure(test['pr_auc'])} |",
        f"| ROC-AUC | {_figure(test['roc_auc'])} |",
        f"| precision at the threshold | {_figure(test['precision'])} |",
        f"| recall at the threshold | {_figure(test['recall'])} |",
        "",
        "|  | flagged | not flagged |",
        "|---|---|---|",
        f"| {LABELS[1]} | {counts['true_positives']} | {counts['false_negatives']} |",
        f"| {LABELS[0]} | {counts['false_positives']} | {counts['true_negatives']} |",
        "",
        f"Threshold {document['threshold']:.6f}: {document['threshold_rule']}. "
        f"Target precision {document['target_precision']:g}: {reached} on the validation split.",
        "Precision among the images of a bucket is lower than here, the rarer drugs are there.",
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
        f"- Preprocessing: `{document['preprocessing_version']}`; seed {document['seed']}",
    ]


def _count(document: Mapping[str, Any], split: Split) -> int:
    return sum(document["sizes"][split].values())


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
