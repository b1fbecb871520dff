"""What exporting is worth: predictions of the exported graph against the Keras model's, and others, in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from sniffer.core.model_records import IMAGE_SHAPE, LABELS, PIXELS_SIGNATURE
from sniffer_local.figure import Figure
from sniffer_model.training.backbone import FEATURES, build_backbone
from sniffer_model.training.network import load_signatures, save_for_serving, serving_network, whole_network

BATCH = 32
BATCHES = 3
ROUNDS = 5


def measure_export(folder: Path) -> list[Figure]:
    """The exported model ÷ Keras's, and ÷ what exports were before; the SavedModel goes below the folder."""
    backbone, head = build_backbone("random"), random_head()
    network = whole_network(backbone, head, temperature=1.0)
    save_for_serving(serving_network(backbone, head, temperature=1.0), folder / "exported")
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, *IMAGE_SHAPE), np.uint8)
    raw = tf.constant([image.tobytes() for image in pixels])
    exported, constants = load_signatures(folder / "exported"), with_constants(network)
    contenders = {
        "keras": lambda: network.predict(pixels, batch_size=BATCH, verbose=0),
        "constants": lambda: np.asarray(constants(tf.constant(pixels))[0]),
        "exported": lambda: np.asarray(exported[PIXELS_SIGNATURE](pixels=raw)["score"]),
    }
    speeds = _speeds(contenders)
    return [
        Figure("exported model's predict / the Keras model's", speeds["exported"] / speeds["keras"], 1.0),
        Figure("exported model's predict / one of constants", speeds["exported"] / speeds["constants"], 0.95),
    ]


def with_constants(network: Any) -> Any:
    """The network's function with its weights as constants, from which TensorFlow folds batch normalisation itself.

    So exports were until their fifth form: as fast, for several copies of the weights.
    """
    function = tf.function(network.call, input_signature=[tf.TensorSpec([None, *IMAGE_SHAPE], tf.uint8)])
    return convert_variables_to_constants_v2(function.get_concrete_function())


def random_head() -> Any:
    """A head that learnt nothing."""
    return keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(len(LABELS), activation="softmax")])


def _speeds(contenders: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Images/s of each, the median of rounds in which all take turns."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for work in contenders.values():
        work()  # warms up
    for _ in range(ROUNDS):
        for name, work in contenders.items():
            began = time.monotonic()
            for _ in range(BATCHES):
                work()
            found[name].append(BATCH * BATCHES / (time.monotonic() - began))
    return {name: statistics.median(speeds) for name, speeds in found.items()}
