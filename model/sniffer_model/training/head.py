"""The head: a two-class softmax on the backbone's features, trained in seconds.

The features' power normalisation and standardisation are its first layers, so that they are part of the exported graph.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sniffer.core.errors import ContractError
from sniffer.core.model_records import LABELS
from sniffer_model.statistics.metrics import pr_auc
from sniffer_model.training.backbone import FEATURES
from sniffer_model.training.epochs import Checkpoint, ValidationScore, fit
from sniffer_model.training.features import LabelledFeatures

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
    """The head as of its best epoch: that of the highest PR-AUC on the validation data, of equals the least loss."""

    network: Any
    epochs: int
    best_epoch: int
    validation_pr_auc: float
    validation_loss: float


def train_head(
    train: LabelledFeatures, validation: LabelledFeatures, options: HeadOptions, checkpoint: Path | None = None
) -> TrainedHead:
    """Fit the head, classes weighted as if there were as many of each; stop when validation no longer improves.

    The same data, options and machine give the same head, also when an earlier run ended half-way and left its
    checkpoint in that file.
    """
    keras.utils.set_random_seed(options.seed)
    head = _build(options)
    spread = _spread(train.features)
    head.get_layer("standardise").set_weights([spread.mean(axis=0), spread.var(axis=0)])
    kept = Checkpoint(checkpoint, _key(train, validation, options)) if checkpoint else None
    trainee = _HeadTrainee(head, train, validation, options)
    outcome = fit(trainee, options.max_epochs, options.patience_epochs, ValidationScore(0.0, math.inf), kept)
    return TrainedHead(head, outcome.epochs, outcome.best_epoch, outcome.best.pr_auc, outcome.best.loss)


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


class _HeadTrainee:
    """The head, its data and its optimiser. A loop over this is several times as fast as Model.fit."""

    name = "head"

    def __init__(self, head: Any, train: LabelledFeatures, validation: LabelledFeatures, options: HeadOptions) -> None:
        self._head, self._options = head, options
        self._features, self._truth = _standardised(head, train.features), train.truth
        self._optimizer = keras.optimizers.Adam(options.learning_rate)
        self._optimizer.build(head.trainable_variables)
        self._step = self._compiled_step()
        self._sample_weights = sample_weights(train.truth)
        self._validation = tf.constant(_standardised(head, validation.features)), validation.truth

    @property
    def weights(self) -> list[Any]:
        """What is learned."""
        return list(self._head.trainable_variables)

    @property
    def variables(self) -> list[Any]:
        """Weights, the state of the dropout's generator, and the optimiser's."""
        return [*self._head.variables, *self._optimizer.variables]

    def learn(self, epoch: int) -> None:
        """One pass over the training data, in an order that seed and epoch decide."""
        order = np.random.default_rng([self._options.seed, epoch]).permutation(len(self._truth))
        for rows in batches(order, self._options.batch_size):
            self._step(self._features[rows], self._truth[rows], self._sample_weights[rows])

    def judge(self) -> ValidationScore:
        """Measure on the validation data."""
        features, truth = self._validation
        return judgement(truth, self._head.get_layer("probabilities")(features))

    def _compiled_step(self) -> Any:
        dropout, probabilities = (self._head.get_layer(name) for name in ("dropout", "probabilities"))

        @tf.function(  # type: ignore[untyped-decorator]
            input_signature=[
                tf.TensorSpec([None, FEATURES], tf.float32),
                tf.TensorSpec([None], tf.bool),
                tf.TensorSpec([None], tf.float32),
            ]
        )
        def step(features: Any, truth: Any, weights: Any) -> None:
            with tf.GradientTape() as tape:
                loss = log_loss(probabilities(dropout(features, training=True)), truth, weights) + tf.add_n(
                    self._head.losses
                )
            variables = self._head.trainable_variables
            self._optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

        return step


def _standardised(head: Any, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the head's fixed layers make of the features: computed once, not in each epoch again."""
    standardised: NDArray[np.float32] = head.get_layer("standardise")(_spread(features)).numpy()
    return standardised


def judgement(truth: NDArray[np.bool_], probabilities: Any) -> ValidationScore:
    """PR-AUC and log loss, the loss weighted like the training data's: what stops us is what we reduce."""
    loss = log_loss(probabilities, tf.constant(truth), tf.constant(sample_weights(truth)))
    return ValidationScore(pr_auc(truth, np.asarray(probabilities)[:, -1]), float(loss))


def log_loss(probabilities: Any, truth: Any, weights: Any) -> Any:
    """Weighted cross entropy of [n, 2] probabilities, as a tensor."""
    of_truth = tf.where(truth, probabilities[:, 1], probabilities[:, 0])
    return -tf.reduce_mean(weights * tf.math.log(of_truth + keras.config.epsilon()))


def sample_weights(truth: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Weights of mean 1 that give both classes the same say."""
    share = float(truth.mean())
    return np.where(truth, 0.5 / share, 0.5 / (1 - share)).astype(np.float32)


def batches(order: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """That order in pieces of `size`, the last one perhaps smaller."""
    return [order[start : start + size] for start in range(0, len(order), size)]


def _key(train: LabelledFeatures, validation: LabelledFeatures, options: HeadOptions) -> str:
    """A digest of all that decides the result."""
    digest = hashlib.sha256(repr(options).encode())
    for data in (train, validation):
        digest.update(np.ascontiguousarray(data.features).data)
        digest.update(data.truth.data)
    return digest.hexdigest()
