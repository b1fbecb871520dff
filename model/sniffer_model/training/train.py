"""`sniffer model train`: train the head on the frozen backbone's features.

In: manifest.json of the workdir, and the images it names. Out, in the workdir: the weights of backbone and head,
and training.json, last, as the mark that they are complete. Features are kept in a cache that runs may share. With
--fine-tune, the backbone's last block learns too.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sniffer.adapters.images import PREPROCESSING_VERSION
from sniffer.core.parser import Parser
from sniffer.core.program import Program, ProgramResult
from sniffer.core.settings import ImageSettings, image_settings
from sniffer_model.data.manifest import Manifest, Split, read_manifest
from sniffer_model.data.source import ImageSource, open_source
from sniffer_model.release.publish import digest_file
from sniffer_model.steps import ENVIRONMENT, add_feature_cache, add_workdir
from sniffer_model.training.checks import check_both_classes
from sniffer_model.workdir import TrainingRecord, Workdir, write_training

if TYPE_CHECKING:
    from sniffer_model.training.backbone import Backbone
    from sniffer_model.training.features import LabelledFeatures
    from sniffer_model.training.head import TrainedHead

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """What is asked for: backbone weights (`imagenet`, `random` or a path), whether to fine-tune, the seed."""

    backbone_weights: str
    fine_tune: bool = False
    seed: int = 0


def train(
    workdir: Workdir, manifest: Manifest, cache_root: Path, options: TrainingOptions, limits: ImageSettings
) -> TrainingRecord:
    """Train on the manifest's training split, stop by its validation split; the test split is not looked at.

    Repeatable: the same manifest and options on the same machine give the same model. After an interruption, it
    goes on from the last epoch that was completed, to the same model.
    """
    # TensorFlow takes seconds to import: not before flags and manifest are known to be right.
    from sniffer_model.training.backbone import build_backbone
    from sniffer_model.training.head import HeadOptions, train_head

    backbone = build_backbone(options.backbone_weights)
    log.info("backbone ResNet50, weights: %s, digest %s…", backbone.weights, backbone.digest[:12])
    data = _load(manifest, backbone, cache_root, limits)
    training, validation = data.training, data.validation
    head = train_head(training, validation, HeadOptions(seed=options.seed), workdir.head_checkpoint)
    log.info("head: epoch %d of %d is kept, PR-AUC %.4f", head.best_epoch, head.epochs, head.validation_pr_auc)
    fine_tuned_epochs = 0
    if options.fine_tune:
        backbone, head, fine_tuned_epochs = _fine_tuned(workdir, data, backbone, head, options.seed)
    record = TrainingRecord(
        manifest_digest=manifest.digest(),
        backbone_weights=backbone.weights,
        backbone_digest=backbone.digest,
        head_digest=_save(workdir, backbone, head),
        preprocessing_version=PREPROCESSING_VERSION,
        seed=options.seed,
        epochs=head.epochs,
        best_epoch=head.best_epoch,
        validation_pr_auc=head.validation_pr_auc,
        validation_loss=head.validation_loss,
        fine_tuned_epochs=fine_tuned_epochs,
        sizes={Split.TRAIN: training.sizes(), Split.VALIDATION: validation.sizes()},
        images_left_out=training.left_out + validation.left_out,
    )
    write_training(record, workdir)
    _clear(workdir)
    return record


@dataclass(frozen=True, slots=True)
class _TrainingData:
    source: ImageSource
    limits: ImageSettings
    training: LabelledFeatures
    validation: LabelledFeatures


def _load(manifest: Manifest, backbone: Backbone, cache_root: Path, limits: ImageSettings) -> _TrainingData:
    from sniffer_model.training.features import FeatureCache, labelled_features

    source, cache = open_source(manifest.source), FeatureCache(cache_root, backbone.digest)
    training, validation = (
        labelled_features(manifest.of(split), source, backbone, cache, limits)
        for split in (Split.TRAIN, Split.VALIDATION)
    )
    for split, data in ((Split.TRAIN, training), (Split.VALIDATION, validation)):
        check_both_classes(split, data)
    return _TrainingData(source, limits, training, validation)


def _fine_tuned(
    workdir: Workdir, data: _TrainingData, backbone: Backbone, head: TrainedHead, seed: int
) -> tuple[Backbone, TrainedHead, int]:
    """Backbone and head after fine-tuning, and its epochs; as they were, and 0, when that made them no better."""
    from sniffer_model.training.fine_tune import FineTuneOptions, activations, fine_tune

    folder = workdir.fine_tuning
    training, validation = (
        activations(features.entries, data.source, backbone, folder, data.limits)
        for features in (data.training, data.validation)
    )
    backbone, outcome = fine_tune(
        backbone, head.network, training, validation, FineTuneOptions(seed=seed), folder / "checkpoint.npz"
    )
    if not outcome.best_epoch:
        log.info("fine-tuning: no epoch of %d was better; the backbone stays as it was", outcome.epochs)
        return backbone, head, 0
    log.info(
        "fine-tuning: epoch %d of %d is kept, PR-AUC %.4f", outcome.best_epoch, outcome.epochs, outcome.best.pr_auc
    )
    head = replace(head, validation_pr_auc=outcome.best.pr_auc, validation_loss=outcome.best.loss)
    return backbone, head, outcome.best_epoch


def _clear(workdir: Workdir) -> None:
    """Remove what only an interrupted run needs."""
    workdir.head_checkpoint.unlink(missing_ok=True)
    if workdir.fine_tuning.exists():
        shutil.rmtree(workdir.fine_tuning)


def _save(workdir: Workdir, backbone: Backbone, head: TrainedHead) -> str:
    from sniffer_model.training.backbone import save_backbone

    # Until the new record is there, the folder holds no complete training.
    workdir.training.unlink(missing_ok=True)
    save_backbone(backbone, workdir.backbone_weights)
    head.network.save_weights(workdir.head_weights)
    return digest_file(workdir.head_weights)


def _add_arguments(parser: Parser) -> None:
    add_workdir(parser, ", with a snapshot in it")
    add_feature_cache(parser)
    parser.add_argument(
        "--backbone-weights",
        default="imagenet",
        metavar="imagenet|random|FILE",
        help="imagenet (default) is downloaded once; FILE is a local weights file; random is for demos and tests",
    )
    parser.add_argument(
        "--fine-tune", action="store_true", help="then tune the backbone's last block too, if validation gains by it"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the head's initial weights and of its batches' order")


def _run(arguments: argparse.Namespace) -> ProgramResult:
    workdir = Workdir(arguments.workdir)
    manifest = read_manifest(workdir.manifest)
    options = TrainingOptions(arguments.backbone_weights, arguments.fine_tune, arguments.seed)
    return ProgramResult(train(workdir, manifest, arguments.feature_cache, options, image_settings()))


PROGRAM = Program(
    command="sniffer model train",
    summary="Train the classifier's head on the features of the frozen backbone, and with --fine-tune the backbone's "
    "last block too. Goes on from the last whole epoch when it was interrupted. Prints the training record as one "
    "JSON line.",
    run=_run,
    add_arguments=_add_arguments,
    examples=(
        "sniffer model train --workdir runs/1 --feature-cache features",
        "sniffer model train --workdir runs/1 --feature-cache features --fine-tune",
    ),
    environment=ENVIRONMENT,
    extra="trainer",
    hands_on=True,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
