"""`python -m sniffer_model.train`: train the head on the frozen backbone's features.

In: manifest.json of the workdir, and the images it names. Out, in the workdir: the weights of backbone and head,
and training.json, last, as the mark that they are complete. Features are kept in a cache that runs may share.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from sniffer.contracts import LABELS, SettingsError, SnifferError
from sniffer.images import PREPROCESSING_VERSION
from sniffer.logs import configure_logging
from sniffer.settings import ImageSettings, image_settings
from sniffer_model.manifest import Manifest, Split, read_manifest
from sniffer_model.publish import digest_file
from sniffer_model.source import open_source
from sniffer_model.workdir import TrainingRecord, Workdir, write_training

if TYPE_CHECKING:
    from sniffer_model.backbone import Backbone
    from sniffer_model.features import LabelledFeatures
    from sniffer_model.head import TrainedHead

log = logging.getLogger(__name__)


def train(
    workdir: Workdir, manifest: Manifest, cache_root: Path, weights: str, seed: int, limits: ImageSettings
) -> TrainingRecord:
    """Train on the manifest's training split, stop by its validation split; the test split is not looked at.

    Repeatable: the same manifest, weights and seed on the same machine give the same model.
    """
    # TensorFlow takes seconds to import: not before flags and manifest are known to be right.
    from sniffer_model.backbone import build_backbone
    from sniffer_model.features import FeatureCache, labelled_features
    from sniffer_model.head import HeadOptions, train_head

    backbone = build_backbone(weights)
    log.info("backbone ResNet50, weights: %s, digest %s…", backbone.weights, backbone.digest[:12])
    source, cache = open_source(manifest.source), FeatureCache(cache_root, backbone.digest)
    training, validation = (
        labelled_features(manifest.of(split), source, backbone, cache, limits)
        for split in (Split.TRAIN, Split.VALIDATION)
    )
    for split, data in ((Split.TRAIN, training), (Split.VALIDATION, validation)):
        check_both_classes(split, data)
    head = train_head(training, validation, HeadOptions(seed=seed))
    log.info("head: best of %d epochs: %d, validation loss %.4f", head.epochs, head.best_epoch, head.validation_loss)
    head_digest = _save(workdir, backbone, head)
    record = TrainingRecord(
        manifest_digest=manifest.digest(),
        backbone_weights=backbone.weights,
        backbone_digest=backbone.digest,
        head_digest=head_digest,
        preprocessing_version=PREPROCESSING_VERSION,
        seed=seed,
        epochs=head.epochs,
        best_epoch=head.best_epoch,
        validation_loss=head.validation_loss,
        sizes={Split.TRAIN: training.sizes(), Split.VALIDATION: validation.sizes()},
        images_left_out=training.left_out + validation.left_out,
    )
    write_training(record, workdir)
    return record


def check_both_classes(split: Split, data: LabelledFeatures) -> None:
    """Raise SettingsError when the images that could be read are of one class only."""
    for label, count in data.sizes().items():
        if not count:
            raise SettingsError(
                f"no image of the class {label!r} in the {split} split can be read any more "
                f"({data.left_out} images are gone or changed): take a new snapshot; classes are {' and '.join(LABELS)}"
            )


def _save(workdir: Workdir, backbone: Backbone, head: TrainedHead) -> str:
    from sniffer_model.backbone import save_backbone

    # Until the new record is there, the folder holds no complete training.
    workdir.training.unlink(missing_ok=True)
    save_backbone(backbone, workdir.backbone_weights)
    head.network.save_weights(workdir.head_weights)
    return digest_file(workdir.head_weights)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sniffer_model.train", description=__doc__)
    parser.add_argument(
        "--workdir", required=True, type=Path, help="folder of this training run, with a snapshot in it"
    )
    parser.add_argument(
        "--feature-cache", required=True, type=Path, metavar="DIR", help="folder of cached features, shared by runs"
    )
    parser.add_argument(
        "--backbone-weights",
        default="imagenet",
        metavar="imagenet|random|FILE",
        help="imagenet (default) is downloaded once; FILE is a local weights file; random is for demos and tests",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the head's initial weights and of its batches' order")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program: log progress, print the training record as one JSON line."""
    arguments = _parser().parse_args(argv)
    configure_logging("train")
    workdir = Workdir(arguments.workdir)
    try:
        manifest = read_manifest(workdir.manifest)
        weights, seed = arguments.backbone_weights, arguments.seed
        record = train(workdir, manifest, arguments.feature_cache, weights, seed, image_settings())
    except SnifferError as error:
        print(f"train: {error}", file=sys.stderr)
        return error.exit_status
    print(json.dumps(asdict(record)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
