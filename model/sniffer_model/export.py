"""`python -m sniffer_model.export`: from an evaluated training to a published, registered model version.

In: workdir with training and metrics. Out: MODEL_BASE_PATH/<next integer>/ and a row of `models`.
What is published has been loaded again, scores the golden examples as the trained model does, and its warm-up
records run. A rerun publishes nothing new when the same model is published already.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version as installed_version
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sniffer.contracts import (
    LABELS,
    PIXELS_SIGNATURE,
    ContractError,
    ModelRecord,
    ModelStatus,
    SettingsError,
    SnifferError,
)
from sniffer.logs import configure_logging
from sniffer.settings import ImageSettings, database_settings, image_settings
from sniffer.store import Store
from sniffer_model.evaluate import check_trained
from sniffer_model.manifest import Manifest, Split, read_manifest
from sniffer_model.model_base import ModelBase, open_model_base
from sniffer_model.publish import (
    ENCODED_SIGNATURE,
    SIGNATURES,
    ModelFacts,
    digest_directory,
)
from sniffer_model.source import open_source
from sniffer_model.workdir import TrainingRecord, Workdir, read_json, read_training, write_json

if TYPE_CHECKING:
    from sniffer_model.golden import GoldenImage

log = logging.getLogger(__name__)

PARITY_TOLERANCE = 1e-5
LABELS_FILE = "labels.json"
EXPORT_FORM = 2
"""Raise it when the exported files change for one and the same training, so that a rerun exports anew."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a model's test figures must reach to be blessed; below, it is registered as a candidate."""

    min_pr_auc: float = 0.80
    min_roc_auc: float = 0.90


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A workdir whose snapshot, training and metrics belong together."""

    workdir: Workdir
    manifest: Manifest
    training: TrainingRecord
    metrics: Mapping[str, Any]


def read_evaluated(workdir: Workdir) -> Evaluated:
    """Read the workdir; raises ContractError when its files are of different trainings."""
    manifest, training = read_manifest(workdir.manifest), read_training(workdir)
    check_trained(workdir, manifest, training)
    metrics = read_json(workdir.metrics, made_by="sniffer_model.evaluate")
    if metrics.get("head_digest") != training.head_digest:
        raise ContractError(
            f"{workdir.metrics} is of an earlier training: run `python -m sniffer_model.evaluate` again"
        )
    return Evaluated(workdir, manifest, training, metrics)


def shortcomings(metrics: Mapping[str, Any], limits: Limits) -> list[str]:
    """Why these metrics are not good enough to be blessed; empty when they are."""
    reasons = [
        f"{name} {metrics[Split.TEST][name]:.4f} is below {minimum:g}"
        for name, minimum in (("pr_auc", limits.min_pr_auc), ("roc_auc", limits.min_roc_auc))
        if metrics[Split.TEST][name] < minimum
    ]
    if not metrics["target_precision_reached"]:
        reasons.append(f"no threshold reached precision {metrics['target_precision']:g} on the validation split")
    return reasons


def export_model(evaluated: Evaluated, base: ModelBase, image_limits: ImageSettings, store: Store | None) -> ModelFacts:
    """Build, prove and publish the version; returns its facts. Publishes nothing that failed a proof.

    When `base` has this very model already, that version is returned and nothing is done. A version number that
    another model has in the store is passed over.
    """
    facts = _facts(evaluated)
    published = base.find(facts)
    if published is not None and not _is_taken(store, published.version, published.digest):
        log.info("this model is published already, as version %d", published.version)
        return published
    with base.staging() as staged:
        _build(evaluated, staged, image_limits)
        facts = replace(facts, digest=digest_directory(staged))
        later = count(max(base.taken(), default=0) + 1)
        return base.publish(staged, facts, (n for n in later if not _is_taken(store, n, facts.digest)))


def _is_taken(store: Store | None, version: int, digest: str) -> bool:
    known = None if store is None else store.model(version)
    return known is not None and known.digest != digest


def _facts(evaluated: Evaluated) -> ModelFacts:
    """All that is known before the export: everything but version and digest."""
    training = evaluated.training
    return ModelFacts(
        version=0,
        digest="",
        backbone_digest=training.backbone_digest,
        backbone_weights=training.backbone_weights,
        head_digest=training.head_digest,
        preprocessing_version=training.preprocessing_version,
        threshold=evaluated.metrics["threshold"],
        manifest_digest=training.manifest_digest,
        labels=LABELS,
        signatures=SIGNATURES,
        exporter=f"{EXPORT_FORM} tensorflow {installed_version('tensorflow')}",
    )


def _build(evaluated: Evaluated, staged: Path, image_limits: ImageSettings) -> None:
    # TensorFlow takes seconds to import: not before the workdir is known to be right.
    from sniffer_model.backbone import load_backbone
    from sniffer_model.golden import choose_golden
    from sniffer_model.head import load_head
    from sniffer_model.network import save_for_serving, whole_network

    workdir, training = evaluated.workdir, evaluated.training
    backbone = load_backbone(workdir.backbone_weights, training.backbone_weights)
    if backbone.digest != training.backbone_digest:
        raise ContractError(f"{workdir.backbone_weights} is not what was trained with: train again")
    network = whole_network(backbone, load_head(workdir.head_weights), evaluated.metrics["temperature"])
    images = choose_golden(evaluated.manifest.of(Split.TEST), open_source(evaluated.manifest.source), image_limits)
    if not images:
        raise SettingsError("no JPEG or PNG of the test split can be read: golden examples need at least one")
    save_for_serving(network, staged)
    _prove(network, images, staged)
    _add_papers(evaluated, staged)


def _prove(network: Any, images: Sequence[GoldenImage], staged: Path) -> None:
    """Add golden examples and warm-up records, and check both on the SavedModel as a server would load it."""
    from sniffer_model.golden import GoldenExample, write_golden
    from sniffer_model.network import load_signatures
    from sniffer_model.warmup import replay_warmup, write_warmup

    signatures = load_signatures(staged)
    trained = network.predict(np.stack([image.pixels for image in images]), verbose=0)
    check_parity(trained, _served(signatures[PIXELS_SIGNATURE], pixels=[image.pixels.tobytes() for image in images]))
    encoded = _served(signatures[ENCODED_SIGNATURE], image_bytes=[image.encoded for image in images])
    log.info("TensorFlow's own decoder moves the golden scores by at most %.4f", np.max(np.abs(encoded - trained)))
    examples = zip(images, trained, encoded, strict=True)
    write_golden([GoldenExample(image, float(a), float(b)) for image, a, b in examples], staged)
    write_warmup(images, staged)
    log.info("%d warm-up records run", replay_warmup(staged, signatures))


def check_parity(trained: Any, served: Any) -> None:
    """Raise ContractError unless the exported model's scores are the trained model's within PARITY_TOLERANCE."""
    difference = float(np.max(np.abs(trained - served)))
    # Written so that NaN fails.
    if not difference <= PARITY_TOLERANCE:
        raise ContractError(
            f"the exported model's scores differ from the trained model's by {difference:.2g} (at most "
            f"{PARITY_TOLERANCE:g} is allowed): not published; this is a defect of the export"
        )
    log.info("exported and trained scores differ by at most %.1e", difference)


def _served(signature: Any, **inputs: Sequence[bytes]) -> Any:
    import tensorflow as tf

    from sniffer_model.network import SCORE_OUTPUT

    return signature(**{name: tf.constant(list(values)) for name, values in inputs.items()})[SCORE_OUTPUT].numpy()


def _add_papers(evaluated: Evaluated, staged: Path) -> None:
    write_json(staged / LABELS_FILE, {"labels": LABELS, "score_of": LABELS[1]})
    for path in (evaluated.workdir.metrics, evaluated.workdir.model_card):
        shutil.copyfile(path, staged / path.name)


def register(facts: ModelFacts, evaluated: Evaluated, limits: Limits, store: Store) -> ModelStatus:
    """Add the version to `models`, blessed when its figures reach the limits, else as a candidate. Idempotent."""
    reasons = shortcomings(evaluated.metrics, limits)
    for reason in reasons:
        log.warning("not blessed: %s", reason)
    status = ModelStatus.CANDIDATE if reasons else ModelStatus.BLESSED
    store.register_model(
        ModelRecord(
            facts.version,
            facts.digest,
            facts.backbone_digest,
            facts.preprocessing_version,
            facts.threshold,
            {**evaluated.metrics, "shortcomings": reasons},
            status,
        )
    )
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sniffer_model.export",
        description=__doc__,
        epilog="The database is SNIFFER_DATABASE_URL, as for the scan.",
    )
    default = Limits()
    parser.add_argument("--workdir", required=True, type=Path, help="folder of this training run, evaluated")
    parser.add_argument(
        "--model-base-path",
        required=True,
        metavar="DIR|s3://BUCKET/PREFIX",
        help="where versions are published, each under its number; a folder can be the server's --model_base_path",
    )
    parser.add_argument("--min-pr-auc", type=float, default=default.min_pr_auc, help="of the test split, to be blessed")
    parser.add_argument(
        "--min-roc-auc", type=float, default=default.min_roc_auc, help="of the test split, to be blessed"
    )
    parser.add_argument(
        "--no-register", action="store_true", help="publish only; scans cannot use a version that is not in `models`"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program: print the published facts, with path and status, as one JSON line."""
    arguments = _parser().parse_args(argv)
    configure_logging("export")
    try:
        return _run(arguments)
    except SnifferError as error:
        print(f"export: {error}", file=sys.stderr)
        return error.exit_status


def _run(arguments: argparse.Namespace) -> int:
    limits = Limits(arguments.min_pr_auc, arguments.min_roc_auc)
    evaluated = read_evaluated(Workdir(arguments.workdir))
    base = open_model_base(arguments.model_base_path)
    if arguments.no_register:
        facts = export_model(evaluated, base, image_settings(), None)
        log.warning("version %d is not registered: scans cannot use it", facts.version)
        status = None
    else:
        with Store(database_settings()) as store:
            store.check()
            facts = export_model(evaluated, base, image_settings(), store)
            status = register(facts, evaluated, limits, store)
    print(json.dumps({**asdict(facts), "path": f"{base.location}/{facts.version}", "status": status}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
