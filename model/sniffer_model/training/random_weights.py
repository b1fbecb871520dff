"""Weights for a ResNet50 that was never trained and still tells pictures apart: for demos and tests.

Keras's initial weights make a poor random projection: noise that grows from layer to layer drowns the picture. Here the
first layer looks for what early vision looks for (edges and stripes of all directions, blobs of colour), kernels are
orthogonal and mostly smooth, residual branches add little, and the batch-norm statistics are those of drawn images.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sniffer.core.model_records import IMAGE_SHAPE

_SEED = 20_240_224
_CALIBRATION_IMAGES = 16
_COLOUR_BLOBS = 16
_GREY_SHARE = 0.6
_RESIDUAL_GAIN = 0.3
_SMOOTH_SHARE = 0.9
_INNER_OFFSETS, _SHORTCUT_OFFSETS, _LAST_OFFSETS = (2.0, 1.0), (1.0, 0.5), (-0.5, 1.0)
"""Mean and deviation of batch-norm offsets: inner ones keep most units open, so that little is lost on the way up;
the last are centred lower, so that units differ in what they answer to."""

Floats = NDArray[np.float32]


def randomise(resnet: Any) -> None:
    """Give Keras's ResNet50 its random weights; the same on every machine with the same NumPy and Keras."""
    rng = np.random.default_rng(_SEED)
    norms = [layer for layer in resnet.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in resnet.layers:
        if isinstance(layer, keras.layers.Conv2D):
            layer.kernel.assign(_kernel(rng, layer.kernel.shape))
    for norm in norms:
        _offset(rng, norm)
    _calibrate(resnet, norms)


def _kernel(rng: np.random.Generator, shape: tuple[int, int, int, int]) -> Floats:
    height, width, inputs, outputs = shape
    if height == 7:
        return _early_vision(rng, outputs)
    if height == 1:
        return _orthogonal(rng, inputs, outputs).reshape(shape)
    sharp = _orthogonal(rng, height * width * inputs, outputs).reshape(shape)
    blur = np.outer([1, 2, 1], [1, 2, 1]) / np.linalg.norm(np.outer([1, 2, 1], [1, 2, 1]))
    smooth = blur[:, :, None, None] * _orthogonal(rng, inputs, outputs)
    kernel: Floats = (np.sqrt(1 - _SMOOTH_SHARE) * sharp + np.sqrt(_SMOOTH_SHARE) * smooth).astype(np.float32)
    return kernel


def _orthogonal(rng: np.random.Generator, rows: int, columns: int) -> Floats:
    """Orthonormal rows or columns, whichever are fewer (Saxe et al., arXiv:1312.6120)."""
    gaussian = rng.standard_normal((max(rows, columns), min(rows, columns)))
    # The Q of a QR decomposition, by Cholesky's in a fifth of the time: less exact, but far more than float32 is.
    basis = gaussian @ np.linalg.inv(np.linalg.cholesky(gaussian.T @ gaussian)).T
    return (basis if rows >= columns else basis.T).astype(np.float32)


def _early_vision(rng: np.random.Generator, count: int) -> Floats:
    """7×7 kernels over RGB: blobs of one colour, then Gabor patches (Daugman, 1985), grey or coloured; norm 1."""
    kernels = np.zeros((7, 7, 3, count), np.float32)
    for index in range(count):
        is_blob = index < _COLOUR_BLOBS
        grey = not is_blob and rng.random() < _GREY_SHARE
        colour = np.ones(3) if grey else rng.standard_normal(3)
        patch = _blob(rng) if is_blob else _gabor(rng)
        kernels[..., index] = (patch / np.linalg.norm(patch))[..., None] * (colour / np.linalg.norm(colour))
    return kernels


def _blob(rng: np.random.Generator) -> NDArray[np.float64]:
    y, x = np.mgrid[-3:4, -3:4].astype(float)
    width = rng.uniform(1.0, 2.5)
    blob: NDArray[np.float64] = np.exp(-(x**2 + y**2) / (2 * width**2))
    return blob


def _gabor(rng: np.random.Generator) -> NDArray[np.float64]:
    y, x = np.mgrid[-3:4, -3:4].astype(float)
    angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
    period, width = rng.uniform(3, 10), rng.uniform(1.2, 2.5)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    wave = np.exp(-(along**2 + (0.7 * across) ** 2) / (2 * width**2)) * np.cos(2 * np.pi * along / period + phase)
    window = np.exp(-(x**2 + y**2) / (2 * width**2))
    # Without its mean, so that it answers to structure and not to brightness.
    patch: NDArray[np.float64] = wave - window * wave.sum() / window.sum()
    return patch


def _offset(rng: np.random.Generator, norm: Any) -> None:
    if norm.name.endswith("_3_bn"):
        norm.gamma.assign(np.full(norm.gamma.shape, _RESIDUAL_GAIN, np.float32))
        return
    mean, deviation = _INNER_OFFSETS
    if norm.name == "conv1_bn":
        mean, deviation = 0.0, 1.0
    elif norm.name == "conv5_block1_0_bn":
        mean, deviation = _LAST_OFFSETS
    elif norm.name.endswith("_0_bn"):
        mean, deviation = _SHORTCUT_OFFSETS
    norm.beta.assign(rng.normal(mean, deviation, norm.beta.shape).astype(np.float32))


def _calibrate(resnet: Any, norms: list[Any]) -> None:
    """One training-mode pass with momentum 0 sets each layer's statistics to those of what really arrives there.

    The images are drawn, not taken from the data: the network must not change with the data set.
    """
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    # As a graph, which gives back what no layer needs any more: at once, the layers' outputs take 2.5 GB.
    run = tf.function(lambda images: resnet(images, training=True))
    run(tf.constant(keras.applications.resnet50.preprocess_input(_clouds())))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _clouds() -> Floats:
    """Smooth coloured clouds with 1/f spectra, as natural images have: RGB in 0…255."""
    rng = np.random.default_rng(_SEED)
    height, width, channels = IMAGE_SHAPE
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = np.inf
    noise = rng.standard_normal((_CALIBRATION_IMAGES, height, width, channels))
    spectra = np.fft.rfft2(noise, axes=(1, 2)) / frequency[None, :, :, None]
    clouds = np.fft.irfft2(spectra, s=(height, width), axes=(1, 2))
    clouds *= 45.0 / clouds.std(axis=(1, 2, 3), keepdims=True)
    base = rng.uniform(60, 200, (_CALIBRATION_IMAGES, 1, 1, channels))
    images: Floats = np.clip(clouds + base, 0, 255).astype(np.float32)
    return images
