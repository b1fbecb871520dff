"""`python -m sniffer_model.evaluate`: judge the trained model on the test split, choose its threshold.

In: a complete training in the workdir. Out, in the workdir: metrics.json and model_card.md.
The threshold is chosen on the validation split, all figures of quality are from the test split.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sniffer.contracts import ContractError, SettingsError, SnifferError
from sniffer.logs import configure_logging
from sniffer.settings import ImageSettings, image_settings
from sniffer_model.manifest import Manifest, Split, read_manifest
from sniffer_model.metrics import Scores, ThresholdChoice, Truth, choose_threshold, confusion, pr_auc, roc_auc
from sniffer_model.model_card import model_card
from sniffer_model.publish import digest_file
from sniffer_model.source import open_source
from sniffer_model.train import check_both_classes
from sniffer_model.workdir import TrainingRecord, Workdir, read_training, write_json, write_text

if TYPE_CHECKING:
    from sniffer_model.features import LabelledFeatures

log = logging.getLogger(__name__)

DEFAULT_TARGET_PRECISION = 0.95
THRESHOLD_RULE = (
    "of the thresholds whose precision on the validation split reaches the target, the one with the most recall; "
    "of equals, the most precise; half-way to the next lower score"
)


@dataclass(frozen=True, slots=True)
class ScoredSplit:
    """Scores of one split's images, and which of them are drugs; [n] both."""

    split: Split
    truth: Truth
    scores: Scores
    sizes: Mapping[str, int]
    left_out: int


def evaluate(workdir: Workdir, cache_root: Path, target_precision: float, limits: ImageSettings) -> dict[str, Any]:
    """Compute the document of metrics.json, and write it and the model card. Repeatable."""
    manifest, training = read_manifest(workdir.manifest), read_training(workdir)
    check_trained(workdir, manifest, training)
    validation, test = _scored_splits(workdir, manifest, training, cache_root, limits)
    choice = choose_threshold(validation.truth, validation.scores, target_precision)
    if not choice.target_reached:
        log.warning("no threshold reaches precision %g on the validation split", target_precision)
    document = _document(training, choice, validation, test)
    write_json(workdir.metrics, document)
    write_text(workdir.model_card, model_card(document))
    return document


def check_trained(workdir: Workdir, manifest: Manifest, training: TrainingRecord) -> None:
    """Raise ContractError unless the files of the workdir belong to one training on this manifest."""
    if training.manifest_digest != manifest.digest():
        raise ContractError(f"{workdir.path} was trained on another snapshot than its manifest.json: train again")
    for path in (workdir.head_weights, workdir.backbone_weights):
        if not path.is_file():
            raise ContractError(f"{path} is missing: train again")
    if training.head_digest != digest_file(workdir.head_weights):
        raise ContractError(f"{workdir.head_weights} is not what was trained: train again")


def _scored_splits(
    workdir: Workdir, manifest: Manifest, training: TrainingRecord, cache_root: Path, limits: ImageSettings
) -> tuple[ScoredSplit, ScoredSplit]:
    # TensorFlow takes seconds to import: not before the workdir is known to be right.
    from sniffer_model.backbone import load_backbone
    from sniffer_model.features import FeatureCache, labelled_features
    from sniffer_model.head import load_head, predict_scores

    backbone = load_backbone(workdir.backbone_weights, training.backbone_weights)
    source, cache = open_source(manifest.source), FeatureCache(cache_root, backbone.digest)
    head = load_head(workdir.head_weights)

    def score(split: Split) -> ScoredSplit:
        data: LabelledFeatures = labelled_features(manifest.of(split), source, backbone, cache, limits)
        check_both_classes(split, data)
        return ScoredSplit(split, data.truth, predict_scores(head, data.features), data.sizes(), data.left_out)

    return score(Split.VALIDATION), score(Split.TEST)


def _document(
    training: TrainingRecord, choice: ThresholdChoice, validation: ScoredSplit, test: ScoredSplit
) -> dict[str, Any]:
    return {
        "manifest_digest": training.manifest_digest,
        "backbone": {"weights": training.backbone_weights, "digest": training.backbone_digest},
        "head_digest": training.head_digest,
        "preprocessing_version": training.preprocessing_version,
        "seed": training.seed,
        "sizes": {**training.sizes, Split.TEST: test.sizes},
        "images_left_out": training.images_left_out + test.left_out,
        "threshold": choice.threshold,
        "threshold_rule": THRESHOLD_RULE,
        "target_precision": choice.target_precision,
        "target_precision_reached": choice.target_reached,
        Split.VALIDATION: _figures(validation, choice.threshold),
        Split.TEST: _figures(test, choice.threshold),
    }


def _figures(data: ScoredSplit, threshold: float) -> dict[str, Any]:
    counts = confusion(data.truth, data.scores, threshold)
    return {
        "pr_auc": pr_auc(data.truth, data.scores),
        "roc_auc": roc_auc(data.truth, data.scores),
        "precision": counts.precision,
        "recall": counts.recall,
        "confusion": dataclasses.asdict(counts),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sniffer_model.evaluate", description=__doc__)
    parser.add_argument("--workdir", required=True, type=Path, help="folder of this training run, trained")
    parser.add_argument(
        "--feature-cache", required=True, type=Path, metavar="DIR", help="folder of cached features, shared by runs"
    )
    parser.add_argument(
        "--target-precision",
        type=float,
        default=DEFAULT_TARGET_PRECISION,
        help=f"what the threshold must reach on the validation split (default {DEFAULT_TARGET_PRECISION})",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program: log the figures, print metrics.json's content as one JSON line."""
    arguments = _parser().parse_args(argv)
    configure_logging("evaluate")
    try:
        if not 0 < arguments.target_precision <= 1:
            raise SettingsError(f"--target-precision must be above 0 and at most 1, not {arguments.target_precision}")
        workdir = Workdir(arguments.workdir)
        document = evaluate(workdir, arguments.feature_cache, arguments.target_precision, image_settings())
    except SnifferError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return error.exit_status
    test = document[Split.TEST]
    log.info("test split: ROC-AUC %.4f, PR-AUC %.4f", test["roc_auc"], test["pr_auc"])
    print(json.dumps(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
