"""A real SavedModel with the fleet's signature that is quick to make and to run: the score is the mean of red."""

from __future__ import annotations

from pathlib import Path


def save_tiny_model(directory: Path) -> None:
    """Write it as one version directory."""
    import tensorflow as tf

    from sniffer.core.model_records import IMAGE_SHAPE

    class Tiny(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="pixels")])
        def pixels(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
            decoded = tf.reshape(tf.io.decode_raw(pixels, tf.uint8), (-1, *IMAGE_SHAPE))
            return {"score": tf.reduce_mean(tf.cast(decoded[..., 0], tf.float32), axis=[1, 2]) / 255.0}

    model = Tiny()
    tf.saved_model.save(model, str(directory), signatures={"pixels": model.pixels})
