"""Fine-tuning: small gradient steps through the backbone's last block (conv5) and the head, after the head's training.

In: a backbone, its trained head, the images. Out: the same two, changed in place if validation says that it is better.
What the blocks below make of each image is computed once and kept on disk, half-precision, while the training runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sniffer.core.model_records import LABELS
from sniffer.core.settings import ImageSettings
from sniffer_model.data.manifest import ManifestEntry
from sniffer_model.data.source import ImageSource
from sniffer_model.training.backbone import Backbone, digested
from sniffer_model.training.content_cache import ContentCache
from sniffer_model.training.epochs import Checkpoint, EpochsOutcome, ValidationScore, fit
from sniffer_model.training.features import cached_outputs
from sniffer_model.training.head import batches, judgement, log_loss, sample_weights

FINE_TUNED = "last block fine-tuned"

_BELOW = "conv4_block6_out"
_SHAPE = (14, 14, 1024)
_SHARD_ROWS = 256
"""100 MB: what an interrupted run may have to compute again."""
_JUDGED_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class FineTuneOptions:
    """How the last block is tuned: with a rate that changes little of what it knows."""

    seed: int = 0
    max_epochs: int = 20
    patience_epochs: int = 3
    learning_rate: float = 1e-5
    batch_size: int = 32


@dataclass(frozen=True, slots=True)
class Activations:
    """What the frozen blocks make of images: arrays on disk, [14, 14, 1024] float16; row i of all is one image."""

    contents: tuple[str, ...]
    rows: tuple[NDArray[np.float16], ...]
    truth: NDArray[np.bool_]

    def batch(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Those rows, in that order, read from the disk."""
        return np.stack([self.rows[number] for number in numbers]).astype(np.float32)


def activations(
    entries: Sequence[ManifestEntry], source: ImageSource, backbone: Backbone, folder: Path, limits: ImageSettings
) -> Activations:
    """The last block's inputs for these images; those that cannot be read are left out with a warning."""
    resnet = backbone.network.get_layer("resnet50")
    below = keras.Model(resnet.inputs, resnet.get_layer(_BELOW).output)
    pixels = backbone.network.inputs[0]
    normalised = keras.applications.resnet50.preprocess_input(keras.ops.cast(pixels, "float32"))
    network = keras.Model(pixels, keras.ops.cast(below(normalised, training=False), "float16"))
    cache = ContentCache(folder / backbone.digest[:32], "activations", _SHAPE, "<f2")
    found = cached_outputs(entries, source, network, cache, limits, _SHARD_ROWS)
    kept = [entry for entry in entries if entry.content_sha256 in found]
    return Activations(
        contents=tuple(entry.content_sha256 for entry in kept),
        rows=tuple(found[entry.content_sha256] for entry in kept),
        truth=np.array([entry.label == LABELS[1] for entry in kept], bool),
    )


def fine_tune(
    backbone: Backbone,
    head: Any,
    train: Activations,
    validation: Activations,
    options: FineTuneOptions,
    checkpoint: Path | None = None,
) -> tuple[Backbone, EpochsOutcome]:
    """Tune last block and head together, batch normalisation as in inference; best epoch 0 means: left as they were.

    A tuned backbone has a digest of its own. Goes on where an earlier run left its checkpoint, to the same result.
    """
    keras.utils.set_random_seed(options.seed)
    trainee = _Tail(backbone, head, train, validation, options)
    key = _key(backbone, head, train, validation, options)
    kept = Checkpoint(checkpoint, key) if checkpoint else None
    outcome = fit(trainee, options.max_epochs, options.patience_epochs, trainee.judge(), kept)
    trainee.freeze()
    if not outcome.best_epoch:
        return backbone, outcome
    return digested(backbone.network, f"{backbone.weights}, {FINE_TUNED}"), outcome


class _Tail:
    """The last block and the head as one network, with their data and optimiser."""

    name = "fine-tuning"

    def __init__(
        self, backbone: Backbone, head: Any, train: Activations, validation: Activations, options: FineTuneOptions
    ) -> None:
        resnet = backbone.network.get_layer("resnet50")
        self._block = keras.Model(resnet.get_layer(_BELOW).output, resnet.output)
        self._convolutions = [layer for layer in self._block.layers if isinstance(layer, keras.layers.Conv2D)]
        self._head, self._train, self._validation, self._options = head, train, validation, options
        for layer in self._convolutions:
            layer.trainable = True
        self._optimizer = keras.optimizers.Adam(options.learning_rate)
        self._optimizer.build(self.weights)
        self._sample_weights = sample_weights(train.truth)
        self._step, self._predict = self._compiled_step(), tf.function(self._probabilities, reduce_retracing=True)

    @property
    def weights(self) -> list[Any]:
        """The block's convolutions and the head; its batch normalisation stays as it is."""
        convolutions = [variable for layer in self._convolutions for variable in layer.trainable_variables]
        return [*convolutions, *self._head.trainable_variables]

    @property
    def variables(self) -> list[Any]:
        """Weights, the state of the dropout's generator, and the optimiser's."""
        of_head = {id(variable) for variable in self._head.trainable_variables}
        random_state = [variable for variable in self._head.variables if id(variable) not in of_head]
        return [*self.weights, *random_state, *self._optimizer.variables]

    def freeze(self) -> None:
        """Make the backbone what it is everywhere else: not to be trained."""
        for layer in self._convolutions:
            layer.trainable = False

    def learn(self, epoch: int) -> None:
        """One pass over the training images, in an order that seed and epoch decide."""
        order = np.random.default_rng([self._options.seed, epoch]).permutation(len(self._train.truth))
        for rows in batches(order, self._options.batch_size):
            self._step(self._train.batch(rows), self._train.truth[rows], self._sample_weights[rows])

    def judge(self) -> ValidationScore:
        """Measure on the validation images."""
        pieces = batches(np.arange(len(self._validation.truth)), _JUDGED_AT_ONCE)
        probabilities = [self._predict(self._validation.batch(rows)).numpy() for rows in pieces]
        return judgement(self._validation.truth, np.concatenate(probabilities))

    def _probabilities(self, inputs: Any) -> Any:
        return self._head(self._block(inputs, training=False), training=False)

    def _compiled_step(self) -> Any:
        def step(inputs: Any, truth: Any, weights: Any) -> None:
            with tf.GradientTape() as tape:
                probabilities = self._head(self._block(inputs, training=False), training=True)
                loss = log_loss(probabilities, truth, weights) + tf.add_n(self._head.losses)
            learned = self.weights
            self._optimizer.apply_gradients(zip(tape.gradient(loss, learned), learned, strict=True))

        return tf.function(step, reduce_retracing=True)


def _key(backbone: Backbone, head: Any, train: Activations, validation: Activations, options: FineTuneOptions) -> str:
    """A digest of all that decides the result."""
    digest = hashlib.sha256(f"{backbone.digest} {options!r}".encode())
    for variable in head.weights:
        digest.update(np.ascontiguousarray(variable).data)
    for data in (train, validation):
        digest.update(" ".join(data.contents).encode())
        digest.update(data.truth.data)
    return digest.hexdigest()
