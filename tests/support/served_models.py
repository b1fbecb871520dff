"""SavedModels that show what the model server does: versions told apart by an offset, signatures of every form."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from support.saved_models import Signature, Tensor, TensorSpec, save_signatures

PASSING = ("float32", "float64", "int8", "uint8", "int16", "int32", "int64", "uint32", "uint64", "bool", "string")
"""The element types that pass REST both ways."""


def save_served_models(root: Path) -> None:
    """Write all of them, each without a version folder: copy one to publish it."""
    for name, offset in (("plus_two", 2.0), ("plus_three", 3.0)):
        _save_half_plus(root / name, offset)
    _save_zoo(root / "zoo")
    _save_types(root / "types")
    _write_warm_up(root / "plus_two", "serving_default", [[1.0, 2.0]])
    _save_half_plus(root / "bad_warm_up", 9.0)
    _write_warm_up(root / "bad_warm_up", "picky", [1.0, 2.0, 3.0])
    shutil.copytree(root / "plus_two", root / "slow_warm_up", ignore=shutil.ignore_patterns("assets.extra"))
    _write_warm_up(root / "slow_warm_up", "slow", [30.0], "seconds")
    _save_half_plus(root / "torn_warm_up", 9.0)
    (root / "torn_warm_up" / "assets.extra").mkdir()
    (root / "torn_warm_up" / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"no TFRecord at all")


def _spec(shape: Sequence[int | None] | None, dtype: str, name: str) -> TensorSpec:
    import tensorflow as tf

    return tf.TensorSpec(shape, tf.dtypes.as_dtype(dtype), name=name)


def _save_half_plus(path: Path, offset: float) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.half, module.offset = tf.Variable(0.5), tf.Variable(offset)

    def half_plus(x: Tensor) -> Mapping[str, Tensor]:
        return {"y": module.half * x + module.offset}

    def picky(x: Tensor) -> Mapping[str, Tensor]:
        with tf.control_dependencies([tf.debugging.assert_less(x, 3.0, message="too much")]):
            return {"y": module.half * x}

    def slow(seconds: Tensor) -> Mapping[str, Tensor]:
        # 250 x 250 multiplications until the time is over: something that TensorFlow can cancel.
        end = tf.timestamp() + tf.cast(seconds[0], tf.float64)
        (product,) = tf.while_loop(
            lambda _: tf.timestamp() < end, lambda m: (tf.linalg.matmul(m, m),), [tf.zeros([250, 250])]
        )
        return {"y": seconds + 0 * tf.reduce_sum(product)}

    signatures: dict[str, Signature] = {
        "serving_default": (half_plus, [_spec([None, 1], "float32", "x")]),
        "picky": (picky, [_spec([None], "float32", "x")]),
        "slow": (slow, [_spec([None], "float32", "seconds")]),
    }
    save_signatures(path, signatures, module)


def _save_zoo(path: Path) -> None:
    """Signatures of every form: two inputs, several outputs, no batch dimension, bytes in and out, the fleet's."""
    import tensorflow as tf

    def pair(a: Tensor, b: Tensor) -> Mapping[str, Tensor]:
        return {"sum": a + tf.cast(b, tf.float32), "greater": a > tf.cast(b, tf.float32)}

    def total(x: Tensor) -> Mapping[str, Tensor]:
        return {"total": tf.reduce_sum(x)}

    def uneven(x: Tensor) -> Mapping[str, Tensor]:
        return {"all": x, "first": x[:1]}

    def pixels(pixels: Tensor) -> Mapping[str, Tensor]:
        rows = tf.reshape(tf.io.decode_raw(pixels, tf.uint8), [-1, 4])
        return {"score": tf.reduce_mean(tf.cast(rows, tf.float32), axis=1) / 255.0}

    def mixed(image_bytes: Tensor, threshold: Tensor) -> Mapping[str, Tensor]:
        return {"y": tf.cast(tf.strings.length(image_bytes), tf.float32) - threshold}

    def echo(s: Tensor) -> Mapping[str, Tensor]:
        return {"text": s, "copy_bytes": s}

    floats = [_spec([None], "float32", "x")]
    strings = [_spec([None], "string", "s")]
    signatures: dict[str, Signature] = {
        "serving_default": (pair, [_spec([None], "float32", "a"), _spec([None], "int64", "b")]),
        "total": (total, floats),
        "uneven": (uneven, floats),
        "any_rank": (lambda x: {"y": x}, [_spec(None, "float32", "x")]),
        "inverse": (lambda x: {"y": 1.0 / x}, floats),
        "pixels": (pixels, [_spec([None], "string", "pixels")]),
        "mixed": (mixed, [_spec([None], "string", "image_bytes"), _spec([None], "float32", "threshold")]),
        "echo": (echo, strings),
        "text_only": (lambda s: {"text": s}, strings),
    }
    save_signatures(path, signatures)


def _save_types(path: Path) -> None:
    """A signature for each element type that gives back what it got."""
    import tensorflow as tf

    signatures: dict[str, Signature] = {
        name: (lambda x: {"y": tf.identity(x)}, [_spec(None, name, "x")]) for name in (*PASSING, "float16")
    }
    signatures["to_float16"] = (lambda x: {"y": tf.cast(x, tf.float16)}, [_spec(None, "float32", "x")])
    save_signatures(path, signatures)


def _write_warm_up(path: Path, signature: str, values: Sequence[object], name: str = "x") -> None:
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    log = PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = signature
    request.inputs[name].CopyFrom(tf.make_tensor_proto(values, tf.float32))
    (path / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(path / "assets.extra" / "tf_serving_warmup_requests")) as writer:
        writer.write(log.SerializeToString())
