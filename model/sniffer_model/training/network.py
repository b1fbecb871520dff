"""The whole model: pixels to score in Keras, and its form for serving with two signatures.

In: backbone and head. Out: a SavedModel directory. No layer learns: no dropout, no batch-norm update.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.protobuf.fingerprint_pb2 import FingerprintDef

from sniffer.core.errors import ContractError
from sniffer.core.model_records import IMAGE_SHAPE, IMAGE_SIDE, PIXEL_BYTES, PIXELS_SIGNATURE
from sniffer_model.release.publish import ENCODED_SIGNATURE, SIGNATURES
from sniffer_model.statistics.calibration import SCORE_MARGIN
from sniffer_model.training.backbone import Backbone, folded_backbone

ENCODED_INPUT = "image_bytes"
PIXELS_INPUT = "pixels"
SCORE_OUTPUT = "score"


def whole_network(backbone: Backbone, head: Any, temperature: float) -> Any:
    """Keras model of [n, 224, 224, 3] uint8 RGB to [n] float32, the calibrated probability of drugs."""
    pixels = keras.Input(IMAGE_SHAPE, dtype="uint8", name="pixels")
    probabilities = head(backbone.network(pixels, training=False), training=False)
    return keras.Model(pixels, _calibrated(probabilities[:, -1], temperature), name="drug_detector")


def _calibrated(scores: Any, temperature: float) -> Any:
    """What calibration.calibrated() computes, in the graph."""
    inside = keras.ops.clip(scores, SCORE_MARGIN, 1 - SCORE_MARGIN)
    return keras.ops.sigmoid((keras.ops.log(inside) - keras.ops.log1p(-inside)) / temperature)


def trained_scores(network: Any, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The network's scores of [n, 224, 224, 3] uint8: float32 [n].

    Not by Keras's predict(), which has XLA compile the network: 2 GB of memory for a few images.
    """
    scores: NDArray[np.float32] = _as_function(network)(tf.constant(pixels)).numpy()
    return scores


def serving_network(backbone: Backbone, head: Any, temperature: float) -> Any:
    """The same as whole_network(), of fewer layers and with weights of its own: what save_for_serving() is to write."""
    return whole_network(folded_backbone(backbone), head, temperature)


def save_for_serving(network: Any, directory: Path) -> None:
    """Write the SavedModel of a network with both signatures; everything from bytes to score is in its graph.

    Weights are variables that the signatures share: of constants, a server holds several copies. A fresh process writes
    the same bytes for the same network.
    """
    score = _as_function(network)
    module = tf.Module()
    # In the network's order: TensorFlow's own list of what a function reads is in another one in each process.
    module.weights = [weight.value for weight in network.weights]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=PIXELS_INPUT)])  # type: ignore[untyped-decorator]
    def score_pixels(pixels: Any) -> dict[str, Any]:
        return {SCORE_OUTPUT: score(_raw_pixels(pixels))}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=ENCODED_INPUT)])  # type: ignore[untyped-decorator]
    def score_image_bytes(image_bytes: Any) -> dict[str, Any]:
        return {SCORE_OUTPUT: score(_decoded_pixels(image_bytes))}

    signatures = {PIXELS_SIGNATURE: score_pixels, ENCODED_SIGNATURE: score_image_bytes}
    tf.saved_model.save(module, directory, signatures)
    _name_by_content(directory / "fingerprint.pb")


def _as_function(network: Any) -> Any:
    return tf.function(
        lambda pixels: network(pixels, training=False), input_signature=[tf.TensorSpec([None, *IMAGE_SHAPE], tf.uint8)]
    )


def _name_by_content(path: Path) -> None:
    """Replace the random UUID in TensorFlow's fingerprint by one of its hashes: equal models are equal files."""
    fingerprint = FingerprintDef.FromString(path.read_bytes())
    fingerprint.ClearField("uuid")
    hashes = fingerprint.SerializeToString(deterministic=True)
    fingerprint.uuid = str(uuid.uuid5(uuid.NAMESPACE_OID, hashes.hex()))
    path.write_bytes(fingerprint.SerializeToString(deterministic=True))


def load_signatures(directory: Path) -> dict[str, LoadedSignature]:
    """The SavedModel's signatures as functions; raises ContractError when one of ours is missing."""
    loaded = tf.saved_model.load(directory)
    missing = set(SIGNATURES) - set(loaded.signatures)
    if missing:
        raise ContractError(f"the model in {directory} has no signature {missing.pop()!r}: export it again")
    # TensorFlow's own signature does not keep its model alive.
    return {name: LoadedSignature(loaded, loaded.signatures[name]) for name in SIGNATURES}


class LoadedSignature:
    """A signature of a SavedModel as a function of tensors by input name; keeps its model alive."""

    def __init__(self, loaded: Any, function: Any) -> None:
        self._loaded = loaded
        self._function = function

    def __call__(self, **inputs: Any) -> Any:
        return self._function(**inputs)


def _raw_pixels(pixels: Any) -> Any:
    """Raw bytes to a uint8 batch; another length is an error of the request, not a wrong score."""
    right_length = tf.debugging.assert_equal(
        tf.strings.length(pixels),
        PIXEL_BYTES,
        message=f"each of `{PIXELS_INPUT}` must be {PIXEL_BYTES} bytes: {IMAGE_SIDE}x{IMAGE_SIDE} RGB, uint8",
    )
    with tf.control_dependencies([right_length]):
        return tf.reshape(tf.io.decode_raw(pixels, tf.uint8), [-1, *IMAGE_SHAPE])


def _decoded_pixels(image_bytes: Any) -> Any:
    return tf.map_fn(_decoded_image, image_bytes, fn_output_signature=tf.TensorSpec(IMAGE_SHAPE, tf.uint8))


def _decoded_image(data: Any) -> Any:
    """TensorFlow's decoder, for people and curl: without EXIF turning, transparency or CMYK as the fleet has it."""
    image = tf.io.decode_image(data, channels=3, expand_animations=False)
    square = tf.image.resize(image, IMAGE_SHAPE[:2], method="bilinear", antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(square), 0, 255), tf.uint8)
