"""Warm-up records: requests that TensorFlow Serving replays before it calls a version available.

The first run of a batch size is the slow one, so there is a record for each size in use. A record that fails
stops the server from loading the version, so they are replayed before a version is published.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from sniffer.core.errors import ContractError
from sniffer.core.model_records import MODEL_NAME, PIXELS_SIGNATURE
from sniffer_model.release.golden import GoldenImage
from sniffer_model.release.publish import ENCODED_SIGNATURE
from sniffer_model.training.network import ENCODED_INPUT, PIXELS_INPUT, SCORE_OUTPUT, LoadedSignature

WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
BATCH_SIZES = (1, 2, 4, 8, 16, 32)
"""What the fleet sends: full batches, and the powers of two that a server's batching pads to."""


def write_warmup(images: Sequence[GoldenImage], directory: Path) -> None:
    """Write a record for each of BATCH_SIZES by `pixels`, and one of a single image by `serving_default`."""
    path = directory / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    raw = [image.pixels.tobytes() for image in images]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for size in BATCH_SIZES:
            batch = [raw[row % len(raw)] for row in range(size)]
            writer.write(_record(PIXELS_SIGNATURE, PIXELS_INPUT, batch))
        writer.write(_record(ENCODED_SIGNATURE, ENCODED_INPUT, [images[0].encoded]))


def replay_warmup(directory: Path, signatures: Mapping[str, LoadedSignature]) -> int:
    """Run every record through the loaded model and return their number; ContractError when one fails."""
    number = 0
    for number, request in enumerate(read_warmup(directory), start=1):
        signature = signatures[request.model_spec.signature_name]
        inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
        try:
            signature(**inputs)[SCORE_OUTPUT].numpy()
        except tf.errors.OpError as error:
            raise ContractError(f"warm-up record {number} of {directory} fails: {error.message}") from error
    return number


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
