"""The folder of one training run: the files that snapshot, train, evaluate and export hand each other.

Each file is replaced as a whole, so an interrupted step leaves the former file or none.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sniffer.contracts import ContractError, SettingsError


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
    write_json(workdir.training, dataclasses.asdict(record))


def read_training(workdir: Workdir) -> TrainingRecord:
    """The record of a complete training; raises SettingsError when there is none."""
    document = read_json(workdir.training, made_by="sniffer_model.train")
    try:
        return TrainingRecord(**document)
    except TypeError as error:
        raise ContractError(f"{workdir.training} is of another version ({error}): train again") from error


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Replace the file by that document, with sorted keys, so that the same content is the same bytes."""
    write_text(path, json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path, *, made_by: str) -> dict[str, Any]:
    """The JSON object in that file; raises SettingsError when missing, ContractError when it is no JSON object."""
    try:
        document = json.loads(read_text(path, made_by=made_by))
    except ValueError as error:
        raise ContractError(f"{path} is not JSON ({error}): run `python -m {made_by}` again") from error
    if not isinstance(document, dict):
        raise ContractError(f"{path} holds no JSON object: run `python -m {made_by}` again")
    return document


def write_text(path: Path, text: str) -> None:
    """Replace the file as a whole; folders are made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not tempfile's: its files are private, but a model server may run as another user.
        part = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise SettingsError(f"cannot write {path}: {error.strerror}") from error


def read_text(path: Path, *, made_by: str) -> str:
    """The file's text; raises SettingsError that names the program which makes it."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(f"{path} does not exist: run `python -m {made_by}` first") from None
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
