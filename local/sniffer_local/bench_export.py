"""What exporting is worth: predictions of the exported graph against the Keras model's, in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sniffer.core.model_records import IMAGE_SHAPE, LABELS, PIXELS_SIGNATURE
from sniffer_local.figure import Figure
from sniffer_model.training.backbone import FEATURES, build_backbone
from sniffer_model.training.network import freeze, load_signatures, save_for_serving, whole_network

BATCH = 32
BATCHES = 3
ROUNDS = 5


def measure_export(folder: Path) -> list[Figure]:
    """The exported model, and its graph without the constants, each ÷ Keras; the SavedModels go below the folder."""
    network = whole_network(build_backbone("random"), _head(), temperature=1.0)
    save_for_serving(freeze(network), folder / "constants")
    tf.saved_model.save(_with_variables(network), str(folder / "variables"))
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, *IMAGE_SHAPE), np.uint8)
    raw = tf.constant([image.tobytes() for image in pixels])
    exported, variables = load_signatures(folder / "constants"), tf.saved_model.load(str(folder / "variables"))
    contenders = {
        "keras": lambda: network.predict(pixels, batch_size=BATCH, verbose=0),
        "variables": lambda: np.asarray(variables.score(tf.constant(pixels))),
        "constants": lambda: np.asarray(exported[PIXELS_SIGNATURE](pixels=raw)["score"]),
    }
    speeds = _speeds(contenders)
    return [
        Figure("exported model's predict / the Keras model's", speeds["constants"] / speeds["keras"], 1.0),
        Figure("  of that, weights as constants / as variables", speeds["constants"] / speeds["variables"]),
    ]


def _head() -> Any:
    return keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(len(LABELS), activation="softmax")])


def _with_variables(network: Any) -> Any:
    """What a plain export would be."""
    module = tf.Module()
    module.network = network
    module.score = tf.function(network.call, input_signature=[tf.TensorSpec([None, *IMAGE_SHAPE], tf.uint8)])
    return module


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
