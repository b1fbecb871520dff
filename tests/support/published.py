"""Published model versions for tests of the rollout: small SavedModels with both signatures, golden examples, facts.

The score is the mean of red times a gain; kinds that misbehave are named by what they do.
"""

from __future__ import annotations

import dataclasses
import io
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sniffer.adapters.images import PREPROCESSING_VERSION
from sniffer.adapters.images.render import decode
from sniffer.core.model_records import IMAGE_SHAPE, LABELS, ModelFacts, ModelRecord, ModelStatus
from sniffer_model.export.choose_golden import write_golden
from sniffer_model.release.golden import GoldenExample, GoldenImage
from sniffer_model.release.publish import digest_directory, publish, staging
from support.facts import FACTS
from support.saved_models import Signature, Tensor, save_signatures

GAINS = {"good": 1.0, "other": 0.8, "slow": 1.0, "nan": float("nan")}
KINDS = (*GAINS, "corrupt")


def save_kinds(folder: Path) -> None:
    """Write a SavedModel of every kind to `folder`/KIND."""
    for kind, gain in GAINS.items():
        _save(folder / kind, gain, slow=kind == "slow")
    shutil.copytree(folder / "good", folder / "corrupt")
    (folder / "corrupt" / "saved_model.pb").write_bytes(b"\xff this is no protobuf")


def _save(directory: Path, gain: float, *, slow: bool) -> None:
    import tensorflow as tf

    def drag(scores: Tensor) -> Tensor:
        """The same scores, after a fifth of a second of work."""
        grid = tf.ones((500, 500)) * scores[0]
        for _ in range(40):
            grid = tf.matmul(grid, grid) * 1e-9
        return scores + 0.0 * tf.reduce_sum(grid)

    def scored(red: Tensor) -> Tensor:
        scores = tf.cast(red, tf.float32) / 255.0 * gain
        return drag(scores) if slow else scores

    def pixels(pixels: Tensor) -> Mapping[str, Tensor]:
        images = tf.reshape(tf.io.decode_raw(pixels, tf.uint8), (-1, *IMAGE_SHAPE))
        return {"score": scored(tf.reduce_mean(tf.cast(images[..., 0], tf.float32), axis=[1, 2]))}

    def encoded(image_bytes: Tensor) -> Mapping[str, Tensor]:
        def red(data: Tensor) -> Tensor:
            return tf.reduce_mean(tf.cast(tf.io.decode_jpeg(data, channels=3)[..., 0], tf.float32))

        return {"score": scored(tf.map_fn(red, image_bytes, fn_output_signature=tf.float32))}

    signatures: dict[str, Signature] = {
        "pixels": (pixels, [tf.TensorSpec([None], tf.string, name="pixels")]),
        "serving_default": (encoded, [tf.TensorSpec([None], tf.string, name="image_bytes")]),
    }
    save_signatures(directory, signatures)


def photo(red: int) -> bytes:
    """A JPEG of 224×224 whose mean of red is about that, which is its score × 255."""
    noise = np.random.default_rng(red).integers(-9, 10, (14, 14))
    pixels = np.full((14, 14, 3), 90, np.uint8)
    pixels[..., 0] = np.clip(red + noise, 0, 255)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((224, 224), Image.Resampling.NEAREST).save(file, "JPEG", quality=95)
    return file.getvalue()


def golden_examples(gain: float, reds: Sequence[int] = (20, 110, 200, 240)) -> list[GoldenExample]:
    """Inputs with the scores that a model of that gain gives them."""
    examples = []
    for red in reds:
        data = photo(red)
        pixels = decode(data)
        score = float(pixels[..., 0].mean() / 255 * gain)
        examples.append(GoldenExample(GoldenImage(LABELS[1], data, ".jpg", pixels), score, score))
    return examples


def publish_kind(
    kinds: Path, kind: str, base: Path, version: int, *, golden_gain: float | None = None, threshold: float = 0.5
) -> ModelRecord:
    """Publish a model of that kind, with golden examples of its own gain, or of another one; the row to register."""
    gain = GAINS.get(kind, 1.0) if golden_gain is None else golden_gain
    with staging(base) as staged:
        shutil.copytree(kinds / kind, staged, dirs_exist_ok=True)
        write_golden(golden_examples(1.0 if np.isnan(gain) else gain), staged)
        facts = dataclasses.replace(
            FACTS,
            digest=digest_directory(staged),
            head_digest=f"{version:064}",
            preprocessing_version=PREPROCESSING_VERSION,
            threshold=threshold,
        )
        facts = publish(staged, base, facts, [version])
    return model_record(facts)


def model_record(facts: ModelFacts, status: ModelStatus = ModelStatus.BLESSED) -> ModelRecord:
    """The row of `models` that an export of these facts registers."""
    return ModelRecord(
        facts.version,
        facts.digest,
        facts.backbone_digest,
        facts.preprocessing_version,
        facts.threshold,
        status,
        f"{facts.version:064}",
    )
