"""The backbone: Keras's ResNet50 without its last layer, its weights by name, their digest.

In: which weights. Out: a frozen network of 224×224×3 uint8 RGB to 2,048 features, normalisation included.
"""

from __future__ import annotations

import hashlib
import logging
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from sniffer.core.errors import SettingsError
from sniffer.core.model_records import IMAGE_SHAPE
from sniffer.core.text import one_line
from sniffer_model.training.folding import folded
from sniffer_model.training.random_weights import randomise

log = logging.getLogger(__name__)

FEATURES = 2048
IMAGENET = "imagenet"
RANDOM = "random"
RANDOM_REMARK = "random (never trained: for demos and tests only)"

_DOWNLOAD_PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Backbone:
    """A frozen feature extractor. `weights` is what reports call it; `digest` covers architecture and weights."""

    network: Any
    weights: str
    digest: str


def build_backbone(weights: str) -> Backbone:
    """The backbone with the weights asked for: `imagenet` (downloaded once), `random`, or the path of a file.

    Never anything else than what was asked for: raises SettingsError when it cannot be had. `random` is the same
    network each time, so its features can be cached like any other's.
    """
    if weights == IMAGENET:
        return _finished(_downloaded(), IMAGENET)
    if weights == RANDOM:
        return _finished(_random(), RANDOM_REMARK)
    return load_backbone(Path(weights), f"file {Path(weights).name}")


def load_backbone(path: Path, weights: str) -> Backbone:
    """The backbone with the weights of that file; raises SettingsError when missing or of another architecture."""
    if not path.is_file():
        raise SettingsError(
            f"--backbone-weights: there is no file {str(path)!r}; give {IMAGENET}, {RANDOM} or a weights file"
        )
    resnet = _resnet()
    # Keras only warns of layers that a file does not have, and leaves them as they are: then they must be no numbers.
    for variable in resnet.variables:
        variable.assign(np.full(variable.shape, np.nan, np.float32))
    try:
        with warnings.catch_warnings(action="ignore"):
            resnet.load_weights(path)
    except (ValueError, KeyError, OSError, AttributeError, TypeError) as error:
        raise _not_resnet50(path, one_line(error, 160)) from error
    for variable in resnet.variables:
        if not np.isfinite(variable.numpy()).all():
            raise _not_resnet50(path, f"{variable.path} is missing or not finite")
    return _finished(resnet, weights)


def _not_resnet50(path: Path, reason: str) -> SettingsError:
    return SettingsError(
        f"{path} does not hold the weights of Keras's ResNet50 without its top (a file …_notop.h5, or one of "
        f"save_weights): {reason}"
    )


def save_backbone(backbone: Backbone, path: Path) -> None:
    """Write the weights for load_backbone()."""
    backbone.network.get_layer("resnet50").save_weights(path)


def _resnet(weights: str | None = None) -> Any:
    return keras.applications.ResNet50(
        weights=weights, include_top=False, pooling="avg", input_shape=IMAGE_SHAPE, name="resnet50"
    )


def _downloaded() -> Any:
    try:
        with _socket_timeout(_DOWNLOAD_PATIENCE_S):
            return _resnet(IMAGENET)
    except Exception as error:
        if type(error) is not Exception and not isinstance(error, OSError):
            raise
        raise SettingsError(
            f"the ImageNet weights cannot be downloaded ({' '.join(str(error).split())}): fetch that file where "
            "there is a network and pass its path with --backbone-weights"
        ) from error


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Keras downloads without a time-out of its own: a silent network would hang it for ever."""
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(previous)


def _random() -> Any:
    resnet = _resnet()
    randomise(resnet)
    return resnet


def _finished(resnet: Any, weights: str) -> Backbone:
    resnet.trainable = False
    return digested(_of_pixels(resnet), weights)


def _of_pixels(resnet: Any) -> Any:
    pixels = keras.Input(IMAGE_SHAPE, dtype="uint8", name="pixels")
    normalised = keras.applications.resnet50.preprocess_input(keras.ops.cast(pixels, "float32"))
    return keras.Model(pixels, resnet(normalised, training=False), name="backbone")


def folded_backbone(backbone: Backbone) -> Backbone:
    """The backbone with its batch normalisation in the weights of its convolutions, for serving only.

    A copy that computes the same features, up to rounding, and so goes by the name and the digest of what was trained.
    """
    return replace(backbone, network=_of_pixels(folded(backbone.network.get_layer("resnet50"))))


def digested(network: Any, weights: str) -> Backbone:
    """The backbone of a network whose weights are final, with their digest."""
    return Backbone(network, weights, _digest(network.get_layer("resnet50")))


def _digest(resnet: Any) -> str:
    digest = hashlib.sha256(b"keras resnet50 notop avg, caffe normalisation\n")
    for variable in resnet.variables:
        values = np.ascontiguousarray(variable.numpy(), dtype="<f4")
        digest.update(f"{variable.path} {values.shape}\n".encode())
        digest.update(values.data)
    return digest.hexdigest()
