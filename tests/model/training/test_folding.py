"""Folding batch normalisation into convolutions: the same function, weights of its own, and nothing else is touched."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from sniffer_model.training.folding import folded

SHAPE = (12, 12, 3)


def drawn(layer: Any, seed: int) -> None:
    """Weights as of a training: none is what it was initialised with."""
    draw = np.random.default_rng(seed)
    layer.set_weights([draw.uniform(0.2, 1.5, weight.shape) for weight in layer.get_weights()])


def network_of(*layers: Any) -> Any:
    """A network of these layers, one after the other, with drawn weights."""
    inputs = keras.Input(SHAPE)
    outputs = inputs
    for layer in layers:
        outputs = layer(outputs)
    return with_drawn_weights(keras.Model(inputs, outputs))


def with_drawn_weights(network: Any) -> Any:
    """The same network."""
    for number, layer in enumerate(network.layers):
        drawn(layer, number)
    return network


def answers(network: Any) -> NDArray[np.float32]:
    """In inference, of some images."""
    images = np.random.default_rng(7).normal(size=(2, *SHAPE)).astype(np.float32)
    found: NDArray[np.float32] = np.asarray(network(images, training=False))
    return found


def norms(network: Any) -> int:
    """How many batch normalisations it has."""
    return sum(isinstance(layer, keras.layers.BatchNormalization) for layer in network.layers)


def assert_computes_the_same(network: Any, copy: Any) -> None:
    expected = answers(network)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(answers(copy), expected, rtol=1e-4, atol=1e-5 * float(np.abs(expected).max()))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("center", "scale"), [(True, True), (True, False), (False, True)])
def test_a_convolution_with_its_normalisation_is_one_layer(bias: bool, center: bool, scale: bool) -> None:
    convolution = keras.layers.Conv2D(4, 3, use_bias=bias, strides=2, padding="same")
    network = network_of(convolution, keras.layers.BatchNormalization(center=center, scale=scale, epsilon=0.1))
    copy = folded(network)
    assert_computes_the_same(network, copy)
    assert norms(copy) == 0
    assert len(copy.weights) == 2
    assert not copy.trainable_weights


def test_blocks_with_shortcuts_compute_the_same_and_what_was_trained_stays() -> None:
    inputs = keras.Input(SHAPE)
    stem = keras.layers.ReLU()(keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, padding="same")(inputs)))
    branch = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 1)(stem))
    joined = keras.layers.ReLU()(keras.layers.Add()([stem, branch]))
    network = with_drawn_weights(keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(joined)))
    before = [weight.copy() for weight in network.get_weights()]
    copy = folded(network)
    assert_computes_the_same(network, copy)
    assert norms(copy) == 0
    drawn(copy.layers[1], 99)
    for weight, was in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, was)
    assert norms(network) == 2


@pytest.mark.parametrize("case", ["activation", "no convolution", "another kind of convolution"])
def test_what_is_no_normalisation_of_a_bare_convolution_stays_a_layer(case: str) -> None:
    before = {
        "activation": keras.layers.Conv2D(3, 3, activation="relu"),
        "no convolution": keras.layers.AveragePooling2D(2),
        "another kind of convolution": keras.layers.DepthwiseConv2D(3),
    }[case]
    network = network_of(before, keras.layers.BatchNormalization(), keras.layers.Conv2D(2, 1))
    copy = folded(network)
    assert_computes_the_same(network, copy)
    assert norms(copy) == 1


def test_a_convolution_that_others_use_too_keeps_its_weights() -> None:
    inputs = keras.Input(SHAPE)
    shared = keras.layers.Conv2D(3, 3)(inputs)
    network = with_drawn_weights(
        keras.Model(inputs, keras.layers.Add()([shared, keras.layers.BatchNormalization()(shared)]))
    )
    copy = folded(network)
    assert_computes_the_same(network, copy)
    assert norms(copy) == 1


def test_a_convolution_that_is_an_output_keeps_its_weights() -> None:
    inputs = keras.Input(SHAPE)
    bare = keras.layers.Conv2D(3, 3)(inputs)
    network = with_drawn_weights(keras.Model(inputs, [bare, keras.layers.BatchNormalization()(bare)]))
    copy = folded(network)
    for found, expected in zip(copy(np.ones((1, *SHAPE))), network(np.ones((1, *SHAPE))), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
