"""Builds a SavedModel of a blessed training, proves it, publishes it, and registers the version."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass, replace
from importlib.metadata import version as installed_version
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sniffer.adapters.mysql.database import Database
from sniffer.core.count_progress import StageProgress
from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.files import read_json, write_json
from sniffer.core.gate_records import GateVerdict
from sniffer.core.model_metrics import ModelMetrics
from sniffer.core.model_records import LABELS, ModelFacts, ModelRecord, ModelStatus
from sniffer.core.settings import ImageSettings
from sniffer_model.data.manifest import Manifest, Split, read_manifest
from sniffer_model.data.source import open_source
from sniffer_model.evaluation.evaluated_run import candidate_digest, check_trained, read_metrics
from sniffer_model.release.model_base import ModelBase
from sniffer_model.release.publish import SIGNATURES, all_taken, digest_directory
from sniffer_model.workdir import TrainingRecord, Workdir, read_training

log = logging.getLogger(__name__)

LABELS_FILE = "labels.json"
EXPORT_FORM = 5
"""Raise it when the exported files change for one and the same training, so that a rerun exports again."""


@dataclass(frozen=True, slots=True)
class Blessed:
    """A workdir whose snapshot, training, metrics and verdict belong together, and whose model the gate blessed."""

    workdir: Workdir
    manifest: Manifest
    training: TrainingRecord
    metrics: ModelMetrics
    verdict: GateVerdict

    @property
    def version(self) -> int | None:
        """The version that the gate reserved; None when it worked without a database."""
        return self.verdict.version


def read_blessed(workdir: Workdir) -> Blessed:
    """Read the workdir; raises ContractError when its files are of different trainings, SettingsError when rejected."""
    manifest, training = read_manifest(workdir.manifest), read_training(workdir)
    check_trained(workdir, manifest, training)
    metrics = read_metrics(workdir, training)
    verdict = read_json(workdir.verdict, GateVerdict, made_by="sniffer model gate")
    if verdict.candidate_digest != candidate_digest(metrics):
        raise ContractError(f"{workdir.verdict} is of another training or threshold: run `sniffer model gate` again")
    if not verdict.blessed:
        raise SettingsError(
            f"the gate rejected this model ({'; '.join(verdict.reasons)}): train a better one, or take "
            "responsibility for it by `sniffer model gate --override-by NAME --override-reason TEXT`"
        )
    return Blessed(workdir, manifest, training, metrics, verdict)


def export_model(blessed: Blessed, base: ModelBase, image_limits: ImageSettings) -> ModelFacts:
    """Build, prove and publish the version; returns its facts. Publishes nothing that failed a proof.

    The version is the one that the gate reserved, else the next one. When `base` has this very model already, that
    version is returned and nothing is done. ContractError when another model is published under the reserved version.
    """
    facts = _facts(blessed)
    published = base.find(facts)
    if published is not None and blessed.version in (None, published.version):
        log.info("this model is published already, as version %d", published.version)
        return published
    if blessed.version in base.versions():
        raise all_taken(base.location)  # before the minute that an export takes
    with base.staging() as staged:
        decoder_difference = _build(blessed, staged, image_limits)
        facts = replace(facts, digest=digest_directory(staged), decoder_difference=decoder_difference)
        following = count(max(base.taken(), default=0) + 1)
        return base.publish(staged, facts, following if blessed.version is None else [blessed.version])


def _facts(blessed: Blessed) -> ModelFacts:
    """All that is known before the export: everything but version and digest."""
    training = blessed.training
    return ModelFacts(
        version=0,
        digest="",
        backbone_digest=training.backbone_digest,
        backbone_weights=training.backbone_weights,
        head_digest=training.head_digest,
        preprocessing_version=training.preprocessing_version,
        threshold=blessed.metrics.threshold,
        manifest_digest=training.manifest_digest,
        labels=LABELS,
        signatures=SIGNATURES,
        exporter=f"{EXPORT_FORM} tensorflow {installed_version('tensorflow')}",
    )


def _build(blessed: Blessed, staged: Path, image_limits: ImageSettings) -> float:
    """Make and prove the version's files; returns by how much the decoder of `serving_default` moves the scores."""
    # TensorFlow takes seconds to import: not before the workdir is known to be right.
    from sniffer_model.export.choose_golden import choose_golden
    from sniffer_model.export.prove import prove, release_memory

    with StageProgress("export", 3, unit="steps") as progress:
        images = choose_golden(blessed.manifest.of(Split.TEST), open_source(blessed.manifest.source), image_limits)
        if not images:
            raise SettingsError("no JPEG or PNG of the test split can be read: golden examples need at least one")
        progress.advance(detail="golden images are chosen")
        trained = _write_model(blessed, np.stack([image.golden.pixels for image in images]), staged)
        release_memory()
        progress.advance(detail="the SavedModel is written")
        difference = prove(trained, images, staged)
        _copy_metadata(blessed.workdir, staged)
        progress.advance(detail="its scores are those of the trained network")
    return difference


def _write_model(blessed: Blessed, pixels: NDArray[np.uint8], staged: Path) -> NDArray[np.float32]:
    """Write the SavedModel; returns the trained network's scores of these images, to hold it against."""
    from sniffer_model.export.prove import release_memory
    from sniffer_model.training.backbone import load_backbone
    from sniffer_model.training.head import load_head
    from sniffer_model.training.network import save_for_serving, serving_network, trained_scores, whole_network

    workdir, training = blessed.workdir, blessed.training
    backbone = load_backbone(workdir.backbone_weights, training.backbone_weights)
    if backbone.digest != training.backbone_digest:
        raise ContractError(f"{workdir.backbone_weights} is not what was trained with: train again")
    head, temperature = load_head(workdir.head_weights), blessed.metrics.temperature
    trained = trained_scores(whole_network(backbone, head, temperature), pixels)
    served = serving_network(backbone, head, temperature)
    # What was trained is not needed beside what TensorFlow makes of the other to write it.
    del backbone
    release_memory()
    save_for_serving(served, staged)
    return trained


def _copy_metadata(workdir: Workdir, staged: Path) -> None:
    write_json(staged / LABELS_FILE, {"labels": LABELS, "score_of": LABELS[1]})
    # Not the report: it shows users' pictures, and is in MySQL with the verdict.
    for path in (workdir.metrics, workdir.model_card, workdir.verdict):
        shutil.copyfile(path, staged / path.name)


def register(facts: ModelFacts, blessed: Blessed, database: Database) -> None:
    """Complete the version's row in `models`, which the gate reserved. Idempotent."""
    database.models.register(
        ModelRecord(
            facts.version,
            facts.digest,
            facts.backbone_digest,
            facts.preprocessing_version,
            facts.threshold,
            ModelStatus.BLESSED,
            candidate_digest(blessed.metrics),
        ),
        blessed.metrics,
        blessed.verdict,
    )
