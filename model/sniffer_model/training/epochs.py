"""The epochs of a training: early stopping on validation PR-AUC, a checkpoint after each, progress in the log.

In: something that can learn for an epoch and judge itself. Out: its variables as of the best epoch, and which it was.
"""

from __future__ import annotations

import json
import logging
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from sniffer.core.errors import SettingsError
from sniffer.core.files import replacing
from sniffer.core.progress_bar import ProgressBar, shows_bars

log = logging.getLogger(__name__)

_PROGRESS_S = 5.0


@dataclass(frozen=True, slots=True)
class ValidationScore:
    """How good a model is on validation data."""

    pr_auc: float
    loss: float

    def is_better_than(self, other: ValidationScore) -> bool:
        """By PR-AUC; of equals, by log loss."""
        return (self.pr_auc, -self.loss) > (other.pr_auc, -other.loss)


@dataclass(frozen=True, slots=True)
class EpochsOutcome:
    """Epochs done, which one was best, and its judgement; epoch 0 is the state before the first."""

    epochs: int
    best_epoch: int
    best: ValidationScore


class Trainee(Protocol):
    """What can be trained by epochs. All randomness comes from `variables` and the epoch's number."""

    name: str

    @property
    def weights(self) -> Sequence[Any]:
        """The Keras variables that are learned: the best epoch's are put back in the end."""

    @property
    def variables(self) -> Sequence[Any]:
        """All that decides how it goes on: weights, the optimiser's state, that of random generators."""

    def learn(self, epoch: int) -> None:
        """Go through the training data once."""

    def judge(self) -> ValidationScore:
        """Measure on the validation data."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where the state after the last epoch is kept, and the key of data and options that it belongs to."""

    path: Path
    key: str

    def save(self, variables: Sequence[Any], best: Sequence[Any], outcome: EpochsOutcome) -> None:
        """Replace the checkpoint as a whole; raises SettingsError when it cannot be written."""
        document = json.dumps({"key": self.key, "epochs": outcome.epochs, "best_epoch": outcome.best_epoch})
        judgement = np.array([outcome.best.pr_auc, outcome.best.loss])
        arrays = _named("now", variables) | _named("best", best)
        try:
            with replacing(self.path) as file:
                np.savez(file, document=document, judgement=judgement, **arrays)
        except OSError as error:
            raise SettingsError(f"cannot write the checkpoint {self.path}: {error.strerror}") from error

    def restore(self, variables: Sequence[Any]) -> tuple[EpochsOutcome, list[Any]] | None:
        """Set the variables as they were; the outcome so far and the best weights. None when it is not of this key."""
        if not self.path.exists():
            return None
        try:
            with np.load(self.path) as arrays:
                return self._restored(arrays, variables)
        except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
            log.warning("the checkpoint %s cannot be read (%s): starting from the first epoch", self.path, error)
            return None

    def _restored(self, arrays: Any, variables: Sequence[Any]) -> tuple[EpochsOutcome, list[Any]] | None:
        document = json.loads(str(arrays["document"]))
        if document["key"] != self.key:
            return None
        now, best = (_in_order(arrays, prefix) for prefix in ("now", "best"))
        for variable, value in zip(variables, now, strict=True):
            variable.assign(value)
        pr_auc, loss = arrays["judgement"].tolist()
        return EpochsOutcome(document["epochs"], document["best_epoch"], ValidationScore(pr_auc, loss)), best


def fit(
    trainee: Trainee, max_epochs: int, patience_epochs: int, before: ValidationScore, checkpoint: Checkpoint | None
) -> EpochsOutcome:
    """Train until the judgement has not been better for `patience_epochs`; leaves the best epoch's weights in place.

    Goes on from the checkpoint where there is one of the same key, to the same result as without the interruption.
    When no epoch is better than `before`, the weights are those from before, and the best epoch is 0.
    """
    restored = checkpoint.restore(trainee.variables) if checkpoint else None
    outcome, best = restored or (EpochsOutcome(0, 0, before), _values(trainee.weights))
    if restored:
        log.info("%s: going on after epoch %d", trainee.name, outcome.epochs)
    with _EpochProgress(trainee.name, outcome.epochs, max_epochs) as progress:
        while outcome.epochs < max_epochs and outcome.epochs - outcome.best_epoch < patience_epochs:
            outcome = replace(outcome, epochs=outcome.epochs + 1)
            trainee.learn(outcome.epochs)
            judgement = trainee.judge()
            if judgement.is_better_than(outcome.best):
                outcome, best = replace(outcome, best_epoch=outcome.epochs, best=judgement), _values(trainee.weights)
            if checkpoint:
                checkpoint.save(trainee.variables, best, outcome)
            progress.note(outcome.epochs, judgement)
    for variable, value in zip(trainee.weights, best, strict=True):
        variable.assign(value)
    return outcome


def _values(variables: Sequence[Any]) -> list[Any]:
    return [np.array(variable) for variable in variables]


def _named(prefix: str, variables: Sequence[Any]) -> dict[str, Any]:
    return {f"{prefix}-{number}": np.asarray(variable) for number, variable in enumerate(variables)}


def _in_order(arrays: Any, prefix: str) -> list[Any]:
    count = sum(name.startswith(f"{prefix}-") for name in arrays.files)
    return [arrays[f"{prefix}-{number}"] for number in range(count)]


class _EpochProgress:
    """Epoch, validation figures and the most time that is left: a bar on a terminal, else a log line now and then."""

    def __init__(self, name: str, done: int, max_epochs: int) -> None:
        self._name, self._done, self._max_epochs = name, done, max_epochs
        self._started_at = self._logged_at = time.monotonic()
        self._bar = ProgressBar(name, "epochs at most") if shows_bars() else None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.__enter__()
            self._bar.update(self._done, self._max_epochs)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, trace)

    def note(self, epoch: int, judgement: ValidationScore) -> None:
        figures = f"validation PR-AUC {judgement.pr_auc:.4f}, loss {judgement.loss:.4f}"
        if self._bar is not None:
            self._bar.update(epoch, self._max_epochs, figures)
            return
        now = time.monotonic()
        if now - self._logged_at < _PROGRESS_S:
            return
        self._logged_at = now
        left_s = (now - self._started_at) / (epoch - self._done) * (self._max_epochs - epoch)
        log.info("%s: epoch %d, %s; at most %.0f s left", self._name, epoch, figures, left_s)
