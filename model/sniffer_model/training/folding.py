"""Batch normalisation folded into the convolutions before it: the same function with fewer layers, for serving.

In: a network whose weights are final. Out: another with weights of its own; what was trained stays as it is.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


def folded(network: Any) -> Any:
    """A copy of a functional Keras model in which each batch normalisation of a convolution is part of its weights.

    For inference only: it scales and shifts by the statistics that the layer has now. A normalisation of anything else
    stays a layer.
    """
    # By the name of the convolution.
    norms = {before.name: norm for norm in network.layers if (before := _convolution_before(norm, network)) is not None}
    left_out = {norm.name for norm in norms.values()}

    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        return inputs[0] if layer.name in left_out else layer(*inputs, **options)

    copy = keras.models.clone_model(
        network, clone_function=lambda layer: _copied(layer, layer.name in norms), call_function=call
    )
    for layer in (layer for layer in copy.layers if layer.weights):
        trained = network.get_layer(layer.name)
        layer.set_weights(_weights(trained, norms[layer.name]) if layer.name in norms else trained.get_weights())
    copy.trainable = False
    return copy


def _convolution_before(layer: Any, network: Any) -> Any | None:
    """The convolution whose output this layer alone takes, to normalise it; None when it is no such normalisation."""
    if not isinstance(layer, keras.layers.BatchNormalization):
        return None
    before = layer.input._keras_history.operation
    is_bare = isinstance(before, keras.layers.Conv2D) and before.activation is keras.activations.linear
    is_used_here_only = len(before._outbound_nodes) == 1 and all(layer.input is not out for out in network.outputs)
    return before if is_bare and is_used_here_only else None


def _copied(layer: Any, takes_norm: bool) -> Any:
    config = layer.get_config()
    if takes_norm:
        # What it starts with is replaced at once, and drawing it would take longer than all the rest.
        config |= {"use_bias": True, "kernel_initializer": "zeros"}
    return type(layer).from_config(config)


def _weights(convolution: Any, norm: Any) -> list[Any]:
    """Kernel and bias of convolution and normalisation in one; computed in float64, so that one rounding is added."""
    kernel = np.asarray(convolution.kernel, np.float64)
    bias = np.asarray(convolution.bias, np.float64) if convolution.use_bias else 0.0
    gamma = np.asarray(norm.gamma, np.float64) if norm.scale else 1.0
    beta = np.asarray(norm.beta, np.float64) if norm.center else 0.0
    scale = gamma / np.sqrt(np.asarray(norm.moving_variance, np.float64) + norm.epsilon)
    shifted = (bias - np.asarray(norm.moving_mean, np.float64)) * scale + beta
    return [(kernel * scale).astype(np.float32), shifted.astype(np.float32)]
