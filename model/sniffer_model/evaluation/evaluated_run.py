"""A trained and evaluated workdir: checked, read back, scored again, and named by its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sniffer.core.errors import ContractError
from sniffer.core.files import read_json
from sniffer.core.model_metrics import ModelMetrics
from sniffer.core.settings import ImageSettings
from sniffer_model.data.manifest import Manifest, Split
from sniffer_model.data.near_duplicates import first_of_each_group
from sniffer_model.data.source import open_source
from sniffer_model.evaluation.figures import ScoredImages
from sniffer_model.release.publish import digest_file
from sniffer_model.statistics.metrics import Scores
from sniffer_model.training.checks import check_both_classes
from sniffer_model.workdir import TrainingRecord, Workdir


def check_trained(workdir: Workdir, manifest: Manifest, training: TrainingRecord) -> None:
    """Raise ContractError unless the files of the workdir belong to one training on this manifest."""
    if training.manifest_digest != manifest.digest():
        raise ContractError(f"{workdir.path} was trained on another snapshot than its manifest.json: train again")
    for path in (workdir.head_weights, workdir.backbone_weights):
        if not path.is_file():
            raise ContractError(f"{path} is missing: train again")
    if training.head_digest != digest_file(workdir.head_weights):
        raise ContractError(f"{workdir.head_weights} is not what was trained: train again")


def check_scores(scores: Scores, whose: str) -> None:
    """Raise ContractError unless every score is one: NaN would pass for the lowest of all, and hide in every figure."""
    wrong = int(np.sum(~((scores >= 0) & (scores <= 1))))
    if wrong:
        raise ContractError(f"{whose} gives {wrong} of {len(scores)} images no score from 0 to 1: train again")


def read_metrics(workdir: Workdir, training: TrainingRecord) -> ModelMetrics:
    """The metrics of that training; raises ContractError when they are of an earlier one."""
    metrics = read_json(workdir.metrics, ModelMetrics, made_by="sniffer model evaluate")
    if metrics.training_digest != training.digest:
        raise ContractError(f"{workdir.metrics} is of an earlier training: run `sniffer model evaluate` again")
    return metrics


def candidate_digest(metrics: ModelMetrics) -> str:
    """64 hexadecimal digits that name a trained model at its operating point, which is what a version stands for.

    SHA-256 over the training, the temperature and the threshold: another threshold flags other images.
    """
    point = [metrics.training_digest, metrics.temperature, metrics.threshold]
    return hashlib.sha256(json.dumps(point).encode()).hexdigest()


def score_splits(
    workdir: Workdir,
    manifest: Manifest,
    training: TrainingRecord,
    cache_root: Path,
    limits: ImageSettings,
    splits: Sequence[Split],
) -> dict[Split, ScoredImages]:
    """The trained model's own scores, not calibrated, of those splits' images; SettingsError when a class is gone.

    Of near-duplicates one counts: figures and their intervals take each image for a draw of its own.
    """
    # TensorFlow takes seconds to import: not before the workdir is known to be right.
    from sniffer_model.training.backbone import load_backbone
    from sniffer_model.training.features import FeatureCache, labelled_features
    from sniffer_model.training.head import load_head, predict_scores

    backbone = load_backbone(workdir.backbone_weights, training.backbone_weights)
    source, cache = open_source(manifest.source), FeatureCache(cache_root, backbone.digest)
    head = load_head(workdir.head_weights)

    def score(split: Split) -> ScoredImages:
        data = labelled_features(manifest.of(split), source, backbone, cache, limits)
        check_both_classes(split, data)
        kept = first_of_each_group(data.entries)
        entries = tuple(data.entries[row] for row in kept)
        scores = predict_scores(head, data.features[kept])
        check_scores(scores, f"the model in {workdir.path}")
        return ScoredImages(entries, data.truth[kept], scores, data.left_out, len(data.entries) - len(kept))

    return {split: score(split) for split in splits}
