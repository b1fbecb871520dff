"""Fine-tuning: only the last block learns, only a gain is kept, an interruption changes nothing.

On a small network with the layers that fine-tuning looks for, but for the slow test: ResNet50 itself takes minutes.
"""

from __future__ import annotations

import dataclasses
import functools
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support.training import Run

from sniffer.core.model_records import IMAGE_SHAPE
from sniffer_model.evaluation import evaluate
from sniffer_model.export import export
from sniffer_model.gate import __main__ as gate
from sniffer_model.release.publish import read_facts
from sniffer_model.training import train
from sniffer_model.training.backbone import Backbone, digested
from sniffer_model.training.epochs import Checkpoint, EpochsOutcome
from sniffer_model.training.features import LabelledFeatures
from sniffer_model.training.fine_tune import Activations, FineTuneOptions, fine_tune
from sniffer_model.training.head import HeadOptions, train_head
from sniffer_model.workdir import Workdir, read_training

LEARNING = FineTuneOptions(max_epochs=3, learning_rate=1e-3)


def small_backbone() -> Backbone:
    keras.utils.set_random_seed(1)
    pixels = keras.Input(IMAGE_SHAPE)
    below = keras.layers.Conv2D(1024, 16, strides=16, activation="relu", name="conv4_block6_out")(pixels)
    block = keras.layers.Conv2D(2048, 1, strides=2, name="conv5_conv")(below)
    block = keras.layers.ReLU()(keras.layers.BatchNormalization(name="conv5_bn")(block))
    resnet = keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(block), name="resnet50")
    resnet.trainable = False
    whole = keras.Input(IMAGE_SHAPE, dtype="uint8")
    return digested(keras.Model(whole, resnet(keras.ops.cast(whole, "float32"), training=False)), "small")


def some_activations(count: int, seed: int) -> Activations:
    """Half of them have more in some channels at some places."""
    rng = np.random.default_rng(seed)
    truth = np.arange(count) % 2 == 1
    rows = np.abs(rng.standard_normal((count, 14, 14, 1024), np.float32))
    rows[truth, ::4, ::4, :300] += 0.5
    contents = tuple(f"{seed}-{number}" for number in range(count))
    return Activations(contents, tuple(rows.astype(np.float16)), truth)


@pytest.fixture(scope="module")
def data() -> tuple[Activations, Activations]:
    return some_activations(64, 1), some_activations(32, 2)


def untrained_head() -> Any:
    rng = np.random.default_rng(0)
    features = LabelledFeatures((), rng.random((8, 2048), np.float32), np.arange(8) % 2 == 1, 0)
    return train_head(features, features, HeadOptions(max_epochs=1)).network


def tuned(
    data: tuple[Activations, Activations], options: FineTuneOptions, checkpoint: Path | None = None
) -> tuple[dict[str, Any], Backbone, EpochsOutcome]:
    """The backbone's variables before, the tuned backbone, and what came out."""
    backbone = small_backbone()
    before = values(backbone)
    after, outcome = fine_tune(backbone, untrained_head(), *data, options, checkpoint)
    return before, after, outcome


def values(backbone: Backbone) -> dict[str, Any]:
    return {variable.path: variable.numpy() for variable in backbone.network.get_layer("resnet50").variables}


def test_only_the_last_blocks_convolutions_learn(data: tuple[Activations, Activations]) -> None:
    before, after, outcome = tuned(data, LEARNING)
    assert outcome.best_epoch > 0
    changed = {path for path, value in values(after).items() if not np.array_equal(value, before[path])}
    assert changed == {path for path in before if "conv5_conv" in path}
    assert after.digest != small_backbone().digest
    assert after.weights == "small, last block fine-tuned"
    assert not after.network.trainable_variables


def test_a_backbone_that_gains_nothing_stays_as_it_was(data: tuple[Activations, Activations]) -> None:
    before, after, outcome = tuned(data, FineTuneOptions(max_epochs=2, learning_rate=0.0))
    assert outcome.best_epoch == 0
    assert after.weights == "small"
    assert all(np.array_equal(value, before[path]) for path, value in values(after).items())


def test_an_interrupted_fine_tuning_ends_as_if_it_had_not_been(
    data: tuple[Activations, Activations], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole, _ = tuned(data, LEARNING)
    save = Checkpoint.save

    def save_and_stop(*arguments: Any) -> None:
        save(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoint, "save", save_and_stop)
        tuned(data, LEARNING, tmp_path / "c.npz")
    _, resumed, outcome = tuned(data, LEARNING, tmp_path / "c.npz")
    assert outcome.epochs == LEARNING.max_epochs
    assert resumed.digest == whole.digest


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_fine_tuned_resnet_is_evaluated_and_exported_as_it_was_trained(
    trained_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    shutil.copy(trained_run.workdir.manifest, tmp_path / "run")
    run = dataclasses.replace(trained_run, workdir=Workdir(tmp_path / "run"))
    # A head that has hardly begun to learn leaves something to gain.
    monkeypatch.setattr("sniffer_model.training.head.HeadOptions", functools.partial(HeadOptions, max_epochs=1))
    assert train.main([*run.flags, "--backbone-weights", "random", "--fine-tune"]) == 0
    training, before = read_training(run.workdir), read_training(trained_run.workdir)
    assert training.fine_tuned_epochs > 0
    assert training.backbone_digest != before.backbone_digest
    assert training.backbone_weights.endswith("last block fine-tuned")
    assert evaluate.main(run.flags) == 0
    override = ["--override-by", "the tests", "--override-reason", "trained on few images"]
    assert gate.main([*run.flags, "--no-register", "--stable-version", "none", *override]) == 0
    # The export itself refuses scores that are not the trained model's.
    assert export.main([*run.workdir_flags, "--model-base-path", str(tmp_path / "models"), "--no-register"]) == 0
    facts = read_facts(tmp_path / "models/1")
    assert (facts.backbone_digest, facts.head_digest) == (training.backbone_digest, training.head_digest)
