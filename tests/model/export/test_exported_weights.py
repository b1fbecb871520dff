"""A version's weights: each once, batch normalisation in them, shared by its signatures; and older versions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from support.training import Run
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from sniffer.core.model_records import IMAGE_SHAPE
from sniffer_model.export.prove import PARITY_TOLERANCE
from sniffer_model.release.golden import read_golden
from sniffer_model.training.backbone import Backbone, digested, load_backbone
from sniffer_model.training.head import load_head
from sniffer_model.training.network import load_signatures, serving_network, trained_scores, whole_network
from sniffer_serve.servable import RunSettings, load_servable

SMALLEST_KERNEL_BYTES = 4 * 64 * 64


@pytest.fixture
def version(exported_model: Path) -> Path:
    return exported_model / "1"


def test_each_weight_is_in_a_version_once_with_batch_normalisation_in_it(version: Path) -> None:
    saved = SavedModel.FromString((version / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    operations = [node.op for node in nodes]
    assert operations.count("Conv2D") == 53, "one ResNet50 for both signatures"
    assert not [operation for operation in operations if operation.startswith("FusedBatchNorm")]
    assert max(node.ByteSize() for node in nodes if node.op == "Const") < SMALLEST_KERNEL_BYTES
    listed = tf.train.list_variables(str(version / "variables" / "variables"))
    weights = sum(math.prod(shape) for name, shape in listed if name != "_CHECKPOINTABLE_OBJECT_GRAPH")
    # Keras's ResNet50 without the four of each of 26,560 channels; and the head, with the statistics of its inputs.
    assert weights == 23_587_712 - 4 * 26_560 + (2 * 2048 + 2 * 2048 + 2)


@pytest.mark.slow
def test_a_fine_tuned_backbone_is_served_as_it_was_trained(version: Path, trained_run: Run) -> None:
    backbone = load_backbone(trained_run.workdir.backbone_weights, "random")
    head = load_head(trained_run.workdir.head_weights)
    pixels = np.stack([example.image.pixels for example in read_golden(version)])
    before = trained_scores(whole_network(backbone, head, 1.5), pixels)
    tuned = with_other_last_block(backbone)
    trained = trained_scores(whole_network(tuned, head, 1.5), pixels)
    assert np.max(np.abs(trained - before)) > 100 * PARITY_TOLERANCE
    served = trained_scores(serving_network(tuned, head, 1.5), pixels)
    assert np.max(np.abs(served - trained)) <= PARITY_TOLERANCE


def with_other_last_block(backbone: Backbone) -> Backbone:
    """As fine-tuning leaves it: other weights in the convolutions of the last block."""
    draw = np.random.default_rng(3)
    for layer in backbone.network.get_layer("resnet50").layers:
        if layer.name.startswith("conv5_block3") and isinstance(layer, keras.layers.Conv2D):
            layer.set_weights([weight + draw.normal(0, 0.01, weight.shape) for weight in layer.get_weights()])
    return digested(backbone.network, "random, fine-tuned")


def test_a_version_whose_weights_are_constants_is_loaded_and_served_as_before(tmp_path: Path) -> None:
    """As releases before the fifth form of an export wrote it."""
    keras.utils.set_random_seed(1)
    pixels = keras.Input(IMAGE_SHAPE, dtype="uint8")
    maps = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 7, strides=16)(keras.ops.cast(pixels, "float32")))
    scores = keras.layers.Dense(1, activation="sigmoid")(keras.layers.GlobalAveragePooling2D()(maps) / 100)
    network = keras.Model(pixels, scores[:, 0])
    save_with_constants(network, tmp_path / "1")
    images = np.random.default_rng(2).integers(0, 256, (3, *IMAGE_SHAPE), np.uint8)
    raw = [image.tobytes() for image in images]
    expected = trained_scores(network, images)
    assert np.ptp(expected) > 1e-6
    by_gate = load_signatures(tmp_path / "1")["pixels"](pixels=tf.constant(raw))["score"].numpy()
    np.testing.assert_allclose(by_gate, expected, atol=PARITY_TOLERANCE)
    assert served_scores(tmp_path / "1", raw) == pytest.approx(expected, abs=PARITY_TOLERANCE)


def served_scores(folder: Path, raw: list[bytes]) -> NDArray[np.float32]:
    """What the model server computes of it."""
    servable = load_servable(folder, RunSettings())
    try:
        found: NDArray[np.float32] = servable.predict("pixels", {"pixels": np.array(raw, object)})["score"]
        return found
    finally:
        servable.close()


def decoded(image: Any) -> Any:
    return tf.ensure_shape(tf.io.decode_png(image, 3), IMAGE_SHAPE)


def save_with_constants(network: Any, folder: Path) -> None:
    score = convert_variables_to_constants_v2(
        tf.function(
            network.call, input_signature=[tf.TensorSpec([None, *IMAGE_SHAPE], tf.uint8)]
        ).get_concrete_function()
    )

    def pixels(pixels: Any) -> Mapping[str, Any]:
        return {"score": score(tf.reshape(tf.io.decode_raw(pixels, tf.uint8), [-1, *IMAGE_SHAPE]))[0]}

    def serving_default(image_bytes: Any) -> Mapping[str, Any]:
        return {"score": score(tf.map_fn(decoded, image_bytes, fn_output_signature=tf.uint8))[0]}

    signatures = {
        "pixels": tf.function(pixels, input_signature=[tf.TensorSpec([None], tf.string, name="pixels")]),
        "serving_default": tf.function(
            serving_default, input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")]
        ),
    }
    tf.saved_model.save(tf.Module(), folder, signatures)
