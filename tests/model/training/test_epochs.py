"""Epochs: the best one is kept by PR-AUC, then by loss; an interrupted training ends as if it had not been."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import pytest

from sniffer_model.training.epochs import Checkpoint, ValidationScore, fit
from sniffer_model.training.features import LabelledFeatures
from sniffer_model.training.head import HeadOptions, TrainedHead, train_head

START = ValidationScore(0.0, 9.0)


class Script:
    """A trainee that is judged as written down; its one weight is the number of the epoch."""

    name = "script"

    def __init__(self, judgements: Sequence[ValidationScore]) -> None:
        self._judgements = judgements
        self._epoch = keras.Variable(0.0)
        self.weights = self.variables = [self._epoch]

    def learn(self, epoch: int) -> None:
        self._epoch.assign(self._epoch + 1)

    def judge(self) -> ValidationScore:
        return self._judgements[int(self._epoch) - 1]


@pytest.mark.parametrize(
    ("figures", "best"),
    [
        ([(0.5, 1), (0.6, 2), (0.4, 0)], 2),
        ([(0.5, 3), (0.5, 2), (0.5, 2)], 2),
        ([(0.5, 1), (0.5, 1)], 1),
        ([(0.5, float("nan")), (0.4, 1)], 1),
    ],
)
def test_the_best_epoch_is_kept(figures: list[tuple[float, float]], best: int) -> None:
    trainee = Script([ValidationScore(*pair) for pair in figures])
    outcome = fit(trainee, len(figures), 9, START, None)
    assert (outcome.best_epoch, float(trainee.weights[0])) == (best, best)


def test_training_stops_when_it_no_longer_gets_better() -> None:
    outcome = fit(Script([ValidationScore(0.9 - 0.1 * n, 1) for n in range(9)]), 9, 3, START, None)
    assert (outcome.epochs, outcome.best_epoch) == (4, 1)


def test_weights_from_before_stay_when_nothing_is_better() -> None:
    trainee = Script([ValidationScore(0.5, 1)] * 5)
    assert fit(trainee, 5, 2, ValidationScore(0.6, 1), None).best_epoch == 0
    assert float(trainee.weights[0]) == 0


def test_a_checkpoint_of_other_data_is_not_gone_on_from(tmp_path: Path) -> None:
    judgements = [ValidationScore(0.1 * n, 1) for n in range(1, 6)]
    fit(Script(judgements), 3, 9, START, Checkpoint(tmp_path / "c.npz", "one"))
    assert fit(Script(judgements), 1, 9, START, Checkpoint(tmp_path / "c.npz", "other")).epochs == 1
    assert fit(Script(judgements), 2, 9, START, Checkpoint(tmp_path / "c.npz", "other")).epochs == 2


def test_a_spoilt_checkpoint_is_said_and_started_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "c.npz").write_bytes(b"PK\3\4 cut")
    with caplog.at_level(logging.WARNING):
        outcome = fit(Script([ValidationScore(0.5, 1)]), 1, 9, START, Checkpoint(tmp_path / "c.npz", "key"))
    assert outcome.epochs == 1
    assert "starting from the first epoch" in caplog.text


def some_data(count: int, seed: int) -> LabelledFeatures:
    rng = np.random.default_rng(seed)
    features = np.abs(rng.standard_normal((count, 2048))).astype(np.float32)
    return LabelledFeatures((), features, features[:, :40].sum(axis=1) > 32, 0)


def interrupted_after(epochs: int, monkeypatch: pytest.MonkeyPatch, run: Callable[[], object]) -> None:
    """Run until the checkpoint of that epoch is written, and not a step further."""
    save, saved = Checkpoint.save, [0]

    def save_and_stop(*arguments: object) -> None:
        save(*arguments)  # type: ignore[arg-type]
        saved[0] += 1
        if saved[0] == epochs:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoint, "save", save_and_stop)
        run()


def test_an_interrupted_head_ends_as_if_it_had_not_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, validation, options = some_data(200, 1), some_data(80, 2), HeadOptions(seed=3, max_epochs=30)

    def run(checkpoint: Path | None) -> TrainedHead:
        return train_head(train, validation, options, checkpoint)

    whole = run(None)
    interrupted_after(4, monkeypatch, lambda: run(tmp_path / "c.npz"))
    resumed = run(tmp_path / "c.npz")
    assert (resumed.epochs, resumed.best_epoch) == (whole.epochs, whole.best_epoch)
    assert resumed.validation_pr_auc == whole.validation_pr_auc
    for one, two in zip(whole.network.get_weights(), resumed.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
