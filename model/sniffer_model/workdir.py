"""The folder of one training run: the files that snapshot, train, evaluate and export hand each other.

Each file is replaced as a whole, so an interrupted step leaves the previous file or none.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sniffer.core.files import read_json, write_json


@dataclass(frozen=True, slots=True)
class Workdir:
    """Names of the files of one training run."""

    path: Path

    @property
    def manifest(self) -> Path:
        """What the model is trained and judged on (snapshot)."""
        return self.path / "manifest.json"

    @property
    def backbone_weights(self) -> Path:
        """The backbone's weights as trained with (train)."""
        return self.path / "backbone.weights.h5"

    @property
    def head_weights(self) -> Path:
        """The head's weights of the best epoch (train)."""
        return self.path / "head.weights.h5"

    @property
    def head_checkpoint(self) -> Path:
        """The head after its last epoch, while train runs (train)."""
        return self.path / "head.checkpoint.npz"

    @property
    def fine_tuning(self) -> Path:
        """Folder of what fine-tuning needs while it runs: the last block's inputs, a checkpoint (train)."""
        return self.path / "fine-tuning"

    @property
    def training(self) -> Path:
        """The TrainingRecord, written when all of train's files are there."""
        return self.path / "training.json"

    @property
    def metrics(self) -> Path:
        """Figures and threshold (evaluate)."""
        return self.path / "metrics.json"

    @property
    def model_card(self) -> Path:
        """The same for people (evaluate)."""
        return self.path / "model_card.md"

    @property
    def report(self) -> Path:
        """The same as a page with plots (evaluate)."""
        return self.path / "report.html"

    @property
    def verdict(self) -> Path:
        """Whether the model may replace the stable one, and why (gate)."""
        return self.path / "verdict.json"


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """How the model in a workdir came about. Digests are hex SHA-256; `sizes` is images used by split and label.

    `fine_tuned_epochs` is the epochs of fine-tuning that the backbone has been through; 0 when it is as it was given.
    """

    manifest_digest: str
    backbone_weights: str
    backbone_digest: str
    head_digest: str
    preprocessing_version: str
    seed: int
    epochs: int
    best_epoch: int
    validation_pr_auc: float
    validation_loss: float
    fine_tuned_epochs: int
    sizes: Mapping[str, Mapping[str, int]]
    images_left_out: int

    @property
    def digest(self) -> str:
        """64 hexadecimal digits that name this training: SHA-256 over all of the record."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()


def write_training(record: TrainingRecord, workdir: Workdir) -> None:
    """Write the record, as the mark that training is complete."""
    write_json(workdir.training, record)


def read_training(workdir: Workdir) -> TrainingRecord:
    """The record of a complete training; SettingsError when there is none, ContractError when of another form."""
    return read_json(workdir.training, TrainingRecord, made_by="sniffer model train")
