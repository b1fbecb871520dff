"""The head: a two-class softmax on the backbone's features, trained in seconds.

The features' power normalisation and standardisation are its first layers, so that they are part of the exported graph.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sniffer.contracts import LABELS, ContractError
from sniffer_model.backbone import FEATURES
from sniffer_model.features import LabelledFeatures

log = logging.getLogger(__name__)

_PROGRESS_S = 5.0
_POWER, _POWER_OFFSET = 0.25, 1e-3


@dataclass(frozen=True, slots=True)
class HeadOptions:
    """How the head is trained. The defaults suit a few hundred to some ten thousand images."""

    seed: int = 0
    max_epochs: int = 200
    patience_epochs: int = 15
    learning_rate: float = 1e-3
    dropout: float = 0.3
    l2: float = 1e-3
    batch_size: int = 64


@dataclass(frozen=True, slots=True)
class TrainedHead:
    """The head as of its best epoch: the one with the least loss on the validation data."""

    network: Any
    epochs: int
    best_epoch: int
    validation_loss: float


def train_head(train: LabelledFeatures, validation: LabelledFeatures, options: HeadOptions) -> TrainedHead:
    """Fit the head, classes weighted as if there were as many of each; stop when validation no longer improves.

    The same data, options and machine give the same head.
    """
    keras.utils.set_random_seed(options.seed)
    head = _build(options)
    spread = _spread(train.features)
    head.get_layer("standardise").set_weights([spread.mean(axis=0), spread.var(axis=0)])
    step, judge = _training_step(head, options.learning_rate), _validation_loss(head, validation)
    order, progress = np.random.default_rng(options.seed), _EpochLog(options.max_epochs)
    best = TrainedHead(head, 0, 0, float("inf"))
    sample_weights, weights = _sample_weights(train.truth), head.get_weights()
    epoch = 0
    while epoch < options.max_epochs and epoch - best.best_epoch < options.patience_epochs:
        epoch += 1
        for rows in _batches(order.permutation(len(train.truth)), options.batch_size):
            step(train.features[rows], train.truth[rows], sample_weights[rows])
        loss = float(judge())
        progress.note(epoch, loss)
        if loss < best.validation_loss:
            best, weights = dataclasses.replace(best, best_epoch=epoch, validation_loss=loss), head.get_weights()
    head.set_weights(weights)
    return dataclasses.replace(best, epochs=epoch)


def load_head(path: Path) -> Any:
    """The head with the weights of that file; raises ContractError when they are of another form."""
    head = _build(HeadOptions())
    try:
        head.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        raise ContractError(f"{path} does not hold this program's head ({error}): train again") from error
    return head


def predict_scores(head: Any, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """The probability of drugs for each row of features, [n]."""
    scores: NDArray[np.float32] = head.predict(features, batch_size=4096, verbose=0)[:, -1]
    return scores


def _build(options: HeadOptions) -> Any:
    features = keras.Input((FEATURES,), name="features")
    # Batch normalisation that never learns is standardisation; its epsilon keeps dead features from being blown up.
    standardise = keras.layers.BatchNormalization(
        center=False, scale=False, epsilon=1e-4, trainable=False, name="standardise"
    )
    probabilities = keras.layers.Dense(
        len(LABELS),
        activation="softmax",
        kernel_initializer="zeros",
        kernel_regularizer=keras.regularizers.L2(options.l2),
        name="probabilities",
    )
    hidden = keras.layers.Dropout(options.dropout, name="dropout")(standardise(_spread(features)))
    return keras.Model(features, probabilities(hidden), name="head")


def _spread(features: Any) -> Any:
    """Power normalisation: spreads the many small values that pooled activations have (Perronnin et al., ECCV 2010).

    Takes arrays as well as Keras tensors. The small offset keeps the slope finite, for a fine-tuned backbone.
    """
    return (features + _POWER_OFFSET) ** _POWER


def _training_step(head: Any, learning_rate: float) -> Any:
    """One step of Adam. A loop over this is several times as fast as Model.fit, which is made for larger models."""
    optimizer = keras.optimizers.Adam(learning_rate)
    optimizer.build(head.trainable_variables)

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[
            tf.TensorSpec([None, FEATURES], tf.float32),
            tf.TensorSpec([None], tf.bool),
            tf.TensorSpec([None], tf.float32),
        ]
    )
    def step(features: Any, truth: Any, weights: Any) -> None:
        with tf.GradientTape() as tape:
            loss = _log_loss(head(features, training=True), truth, weights) + tf.add_n(head.losses)
        variables = head.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    return step


def _validation_loss(head: Any, validation: LabelledFeatures) -> Any:
    """A function that computes the log loss, weighted like the training data's: what stops us is what we reduce."""
    features, truth = tf.constant(validation.features), tf.constant(validation.truth)
    weights = tf.constant(_sample_weights(validation.truth))
    return tf.function(lambda: _log_loss(head(features, training=False), truth, weights))


def _log_loss(probabilities: Any, truth: Any, weights: Any) -> Any:
    of_truth = tf.where(truth, probabilities[:, 1], probabilities[:, 0])
    return -tf.reduce_mean(weights * tf.math.log(of_truth + keras.config.epsilon()))


def _sample_weights(truth: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Weights of mean 1 that give both classes the same say."""
    share = float(truth.mean())
    return np.where(truth, 0.5 / share, 0.5 / (1 - share)).astype(np.float32)


def _batches(order: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return [order[start : start + size] for start in range(0, len(order), size)]


class _EpochLog:
    """A log line every few seconds: epoch, validation loss, the most time that is left."""

    def __init__(self, max_epochs: int) -> None:
        self._max_epochs = max_epochs
        self._start_s = self._logged_s = time.monotonic()

    def note(self, epoch: int, loss: float) -> None:
        now_s = time.monotonic()
        if now_s - self._logged_s < _PROGRESS_S:
            return
        self._logged_s = now_s
        left_s = (now_s - self._start_s) / epoch * (self._max_epochs - epoch)
        log.info("head: epoch %d, validation loss %.4f; at most %.0f s left", epoch, loss, left_s)
