"""Small SavedModels, as TensorFlow Serving loads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sniffer.core.model_records import IMAGE_SHAPE

Tensor = Any
TensorSpec = Any
"""TensorFlow has no types of its own."""
Signature = tuple[Callable[..., Mapping[str, Tensor]], Sequence[TensorSpec]]
"""A function of tensors, and what each of its arguments is."""


def save_signatures(directory: Path, signatures: Mapping[str, Signature], module: Any = None) -> None:
    """Write one version directory with these signatures; `module` holds the variables that they use."""
    import tensorflow as tf

    module = module or tf.Module()
    functions = {}
    for name, (function, specs) in signatures.items():
        functions[name] = tf.function(function, input_signature=specs)
        setattr(module, f"signature_{name}", functions[name])
    tf.saved_model.save(module, str(directory), signatures=functions)


def save_mean_of_red(directory: Path, signatures: Sequence[str] = ("pixels",)) -> None:
    """A model that is quick to make and to run: by each signature, the score of raw pixels is their mean of red."""
    import tensorflow as tf

    def mean_of_red(pixels: Tensor) -> Mapping[str, Tensor]:
        decoded = tf.reshape(tf.io.decode_raw(pixels, tf.uint8), (-1, *IMAGE_SHAPE))
        return {"score": tf.reduce_mean(tf.cast(decoded[..., 0], tf.float32), axis=[1, 2]) / 255.0}

    specs = [tf.TensorSpec([None], tf.string, name="pixels")]
    save_signatures(directory, dict.fromkeys(signatures, (mean_of_red, specs)))
