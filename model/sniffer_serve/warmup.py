"""Warm-up: the requests a version carries in its `assets.extra` are replayed on it before it is served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorflow_serving.apis import prediction_log_pb2

from sniffer_serve.errors import Code, StatusError, invalid_argument
from sniffer_serve.servable import Servable

WARM_UP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
MAX_RECORDS = 1000


def warm_up(servable: Servable, folder: Path, iterations: int) -> int:
    """Replay every warm-up record `iterations` times; the number of records, 0 when the version carries none.

    Raises StatusError when the file is no TFRecord file of predict requests, or when a request fails: a version that
    fails its own examples is not served.
    """
    path = folder / WARM_UP_FILE
    if not path.is_file():
        return 0
    number = 0
    for number, log in enumerate(_records(path), start=1):
        if number > MAX_RECORDS:
            raise invalid_argument(f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {path}")
        for _ in range(iterations):
            _replay(servable, log, f"warm-up record {number} of {path}")
    return number


def _records(path: Path) -> Iterator[prediction_log_pb2.PredictionLog]:
    try:
        for record in tf.compat.v1.io.tf_record_iterator(str(path)):
            yield prediction_log_pb2.PredictionLog.FromString(record)
    except tf.errors.DataLossError as error:
        raise StatusError(
            Code.DATA_LOSS, f"{error.message}. Please verify your warmup data is in TFRecord format."
        ) from error
    except DecodeError as error:
        raise invalid_argument(f"Failed to parse warmup record from {path}: {error}") from error


def _replay(servable: Servable, log: prediction_log_pb2.PredictionLog, which: str) -> None:
    kind = log.WhichOneof("log_type")
    if kind != "predict_log":
        raise StatusError(Code.UNIMPLEMENTED, f"{which} is a {kind}; this server replays predict_log only")
    request = log.predict_log.request
    try:
        name = servable.spec(request.model_spec.signature_name).name
        inputs = {key: tf.make_ndarray(tensor) for key, tensor in request.inputs.items()}
        servable.predict(name, inputs, limited=False)
    except StatusError as error:
        raise StatusError(error.code, f"{which} failed: {error.message}") from error
    except (TypeError, ValueError) as error:  # a tensor whose values do not fill its shape
        raise invalid_argument(f"{which} failed: {error}") from error
