"""One loaded version: a SavedModel folder in, its signatures ready to run on arrays, closed when the last user is gone.

It is loaded into a session, as TensorFlow Serving does it, and not by `tf.saved_model.load`: so a SavedModel that
TensorFlow Serving could not serve is not served here either, and errors of the graph carry the same words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.client import pywrap_tf_session
from tensorflow_serving.apis import get_model_metadata_pb2

from sniffer_serve.errors import Code, StatusError, invalid_argument
from sniffer_serve.rest import DEFAULT_SIGNATURE, SignatureSpec
from sniffer_serve.tensors import Array

_SERVE_TAG = "serve"
_LOAD_ERRORS = (OSError, RuntimeError, ValueError, TypeError, KeyError, DecodeError, tf.errors.OpError)
"""What TensorFlow's loader raises on a folder that is no SavedModel, or half of one."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How TensorFlow runs a model; 0 threads leave the choice to TensorFlow, `timeout_s` None sets no limit."""

    intra_op_threads: int = 0
    inter_op_threads: int = 0
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Signature:
    spec: SignatureSpec
    feeds: Mapping[str, Any]
    fetches: tuple[Any, ...]


class Servable:
    """A SavedModel in memory; safe to use from many threads until `close`."""

    def __init__(self, session: Any, signature_defs: Mapping[str, Any], settings: RunSettings) -> None:
        self._session = session
        self._signatures = {name: _signature(session.graph, name, sig) for name, sig in signature_defs.items()}
        self._limited = _run_options(settings.timeout_s)
        self.metadata = _signature_map(signature_defs)
        """The signatures as the metadata URL shows them."""

    def spec(self, name: str) -> SignatureSpec:
        """The signature of that name, "" being the default one; raises StatusError (INVALID_ARGUMENT) if unknown."""
        name = name or DEFAULT_SIGNATURE
        signature = self._signatures.get(name)
        if signature is None:
            raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
        return signature.spec

    def predict(self, name: str, inputs: Mapping[str, Array], *, limited: bool = True) -> dict[str, Array]:
        """Run a signature on arrays by input name; outputs by name. `limited` applies the time limit of the settings.

        Raises StatusError with the code and message of whatever in the graph refused.
        """
        signature = self._signatures[name or DEFAULT_SIGNATURE]
        _check_inputs(signature.spec, inputs)
        feeds = {signature.feeds[key]: array for key, array in inputs.items()}
        options = self._limited if limited else None
        try:
            # Underneath Session.run: that would check declared shapes (TensorFlow Serving does not) and run slower.
            outputs = self._session._call_tf_sessionrun(options, feeds, signature.fetches, [], None)
        except tf.errors.OpError as error:
            raise StatusError(Code(error.error_code), error.message) from error
        return {key: _as_array(value) for key, value in zip(signature.spec.outputs, outputs, strict=True)}

    def close(self) -> None:
        """Give the memory back; no call may be under way."""
        self._session.close()
        if self._limited is not None:
            pywrap_tf_session.TF_DeleteBuffer(self._limited)
            self._limited = None


def load_servable(folder: Path, settings: RunSettings) -> Servable:
    """Load a SavedModel folder for serving; raises StatusError when it is none, or not complete."""
    config = config_pb2.ConfigProto(
        intra_op_parallelism_threads=settings.intra_op_threads,
        inter_op_parallelism_threads=settings.inter_op_threads,
    )
    graph = tf.Graph()
    session = tf.compat.v1.Session(graph=graph, config=config)
    try:
        with graph.as_default():
            meta_graph = tf.compat.v1.saved_model.load(session, [_SERVE_TAG], str(folder))
        return Servable(session, meta_graph.signature_def, settings)
    except _LOAD_ERRORS as error:
        session.close()
        raise StatusError(_code_of(error), f"cannot load {folder}: {_text_of(error)}") from error


def _code_of(error: Exception) -> Code:
    if isinstance(error, tf.errors.OpError):
        return Code(error.error_code)
    return Code.NOT_FOUND if isinstance(error, OSError) else Code.INVALID_ARGUMENT


def _text_of(error: Exception) -> str:
    text = error.message if isinstance(error, tf.errors.OpError) else str(error)
    return " ".join(text.split()) or type(error).__name__


def _signature(graph: Any, name: str, definition: Any) -> _Signature:
    outputs = {key: info for key, info in sorted(definition.outputs.items()) if _is_tensor(info)}
    spec = SignatureSpec(
        name,
        {key: _dtype_name(info) for key, info in sorted(definition.inputs.items())},
        {key: _dtype_name(info) for key, info in outputs.items()},
    )
    return _Signature(
        spec,
        {key: _endpoint(graph, info) for key, info in definition.inputs.items()},
        tuple(_endpoint(graph, info) for info in outputs.values()),
    )


def _is_tensor(info: Any) -> bool:
    # The initialiser that every SavedModel has is listed as a signature too; its output is an operation.
    return ":" in info.name


def _dtype_name(info: Any) -> str:
    name: str = types_pb2.DataType.Name(info.dtype)
    return name.removeprefix("DT_").lower()


def _endpoint(graph: Any, info: Any) -> Any:
    return graph.get_tensor_by_name(info.name)._as_tf_output()


def _run_options(timeout_s: float | None) -> Any:
    if timeout_s is None:
        return None
    options = config_pb2.RunOptions(timeout_in_ms=round(timeout_s * 1000))
    return pywrap_tf_session.TF_NewBufferFromString(options.SerializeToString())


def _check_inputs(spec: SignatureSpec, inputs: Mapping[str, Array]) -> None:
    if inputs.keys() == spec.inputs.keys():
        return
    sent, wanted = set(inputs), set(spec.inputs)
    raise invalid_argument(
        f"input size does not match signature: {len(sent)}!={len(wanted)} len({_names(sent)}) != "
        f"len({_names(wanted)}). Sent extra: {_names(sent - wanted)}. Missing but required: {_names(wanted - sent)}."
    )


def _names(names: set[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"


def _as_array(value: Any) -> Array:
    # Scalars come bare; numpy would cut trailing NUL bytes off a bytes object that it types itself.
    return np.array(value, dtype=object) if isinstance(value, bytes | str) else np.asarray(value)


def _signature_map(signature_defs: Mapping[str, Any]) -> dict[str, Any]:
    message = get_model_metadata_pb2.SignatureDefMap()
    for name, definition in signature_defs.items():
        message.signature_def[name].CopyFrom(definition)
    text = json_format.MessageToJson(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    signatures: dict[str, Any] = json.loads(text)
    return signatures
