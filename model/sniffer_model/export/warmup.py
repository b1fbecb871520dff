"""Warm-up records: requests that TensorFlow Serving replays before it calls a version available.

The first run of a batch size is the slow one, so there is a record for each size in use. Their pictures are drawn, so
that no user's picture lies beside a model: only shapes and sizes have to be real. A record that fails stops the server
from loading the version, so they are replayed before a version is published.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from sniffer.core.errors import ContractError
from sniffer.core.model_records import IMAGE_SIDE, MODEL_NAME, PIXELS_SIGNATURE
from sniffer_model.release.publish import ENCODED_SIGNATURE
from sniffer_model.training.network import ENCODED_INPUT, PIXELS_INPUT, SCORE_OUTPUT, LoadedSignature

WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
BATCH_SIZES = (1, 2, 4, 8, 16, 32)
"""What the fleet sends: full batches, and the powers of two that a server's batching pads to."""


_PHOTO_SIDES = (768, 1024)
"""Height and width in pixels of the encoded record: larger than the model's input, as what people send is."""


def drawn_picture(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Colours that change slowly over the picture, with a little noise: uint8 [height, width, 3], same for a seed."""
    draw = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    angles = draw.uniform(0, 2 * np.pi, 3)
    waves = np.stack([np.sin(rows / height * 5 + columns / width * 7 + angle) for angle in angles], axis=-1)
    noisy = 127.5 + 110 * waves + draw.normal(0, 4, waves.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def write_warmup(directory: Path) -> None:
    """Write a record for each of BATCH_SIZES by `pixels`, and one of a single image by `serving_default`."""
    path = directory / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    raw = [drawn_picture(IMAGE_SIDE, IMAGE_SIDE, seed).tobytes() for seed in range(max(BATCH_SIZES))]
    photo = tf.io.encode_jpeg(drawn_picture(*_PHOTO_SIDES, seed=0)).numpy()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for size in BATCH_SIZES:
            writer.write(_record(PIXELS_SIGNATURE, PIXELS_INPUT, raw[:size]))
        writer.write(_record(ENCODED_SIGNATURE, ENCODED_INPUT, [photo]))


def replay_warmup(directory: Path, signatures: Mapping[str, LoadedSignature]) -> int:
    """Run the records of these signatures and return their number; ContractError when one fails."""
    run = 0
    for number, request in enumerate(read_warmup(directory), start=1):
        signature = signatures.get(request.model_spec.signature_name)
        if signature is None:
            continue
        inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
        try:
            signature(**inputs)[SCORE_OUTPUT].numpy()
        except tf.errors.OpError as error:
            raise ContractError(f"warm-up record {number} of {directory} fails: {error.message}") from error
        run += 1
    return run


def read_warmup(directory: Path) -> Iterator[PredictRequest]:
    """The requests of a version's warm-up file, in order."""
    for record in tf.data.TFRecordDataset(str(directory / WARMUP_FILE)).as_numpy_iterator():
        yield PredictionLog.FromString(record).predict_log.request


def _record(signature: str, name: str, batch: Sequence[bytes]) -> bytes:
    request = PredictRequest()
    request.model_spec.name = MODEL_NAME
    request.model_spec.signature_name = signature
    request.inputs[name].CopyFrom(tf.make_tensor_proto(list(batch), tf.string, [len(batch)]))
    entry = PredictionLog()
    entry.predict_log.request.CopyFrom(request)
    record: bytes = entry.SerializeToString(deterministic=True)
    return record
