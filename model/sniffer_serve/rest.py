"""The bodies of `:predict`: a request's JSON to the tensors of a signature, and a run's outputs back to JSON.

A request comes in row form (`instances` -> `predictions`) or in column form (`inputs` -> `outputs`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from sniffer_serve.errors import Code, StatusError, invalid_argument
from sniffer_serve.tensors import Array, bytes_array, dense_array, json_elements, nest, shown

DEFAULT_SIGNATURE = "serving_default"


@dataclass(frozen=True, slots=True)
class SignatureSpec:
    """What a signature takes and gives: element types by name."""

    name: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]

    @property
    def is_one_string(self) -> bool:
        """Whether the only input is a string tensor."""
        return tuple(self.inputs.values()) == ("string",)


class _Blob(msgspec.Struct, forbid_unknown_fields=True):
    b64: bytes


class _BlobRows(msgspec.Struct, forbid_unknown_fields=True):
    instances: list[_Blob]
    signature_name: str = ""


_BLOB_ROWS = msgspec.json.Decoder(_BlobRows)


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """A parsed body; `signature_name` is "" when the body names none.

    `blobs` are set when the rows are nothing but base64 objects, the fleet's form: then they were decoded while
    parsing, without a detour over 200 kB strings, and `document` is not there yet.
    """

    signature_name: str
    body: bytes
    document: dict[str, Any] | None = None
    blobs: list[bytes] | None = None

    @property
    def in_rows(self) -> bool:
        """Whether the answer is in row form."""
        return self.document is None or "instances" in self.document


def parse_predict(body: bytes) -> PredictRequest:
    """Parse a `:predict` body; raises StatusError (INVALID_ARGUMENT) when it is not a JSON object or names badly."""
    try:
        rows = _BLOB_ROWS.decode(body)
    except msgspec.MsgspecError:
        # Not the fleet's form, or not quite: this parser knows all forms, and the words for what is wrong.
        document = parse_object(body)
        return PredictRequest(_signature_name(document), body, document)
    return PredictRequest(rows.signature_name, body, blobs=[row.b64 for row in rows.instances])


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object at the start of a body: NaN and Infinity are numbers, text after the object is ignored."""
    # Bytes that are no UTF-8 pass through strings as they are, as in TensorFlow Serving.
    text = body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape").lstrip(" \t\r\n")
    if not text:
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        document, _ = json.JSONDecoder().raw_decode(text)
    except json.JSONDecodeError as error:
        what = "Invalid value." if error.msg == "Expecting value" else error.msg
        raise invalid_argument(f"JSON Parse error: {what} at offset: {error.pos}") from error
    except (RecursionError, ValueError) as error:  # nested too deeply, a number of thousands of digits
        raise invalid_argument(f"JSON Parse error: {error}") from error
    if type(document) is not dict:
        raise invalid_argument(f"JSON Value: {shown(document)} Is not object")
    return document


def _signature_name(document: dict[str, Any]) -> str:
    name = document.get("signature_name", "")
    if type(name) is not str:
        raise invalid_argument(
            f"JSON Value: {shown(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def request_tensors(request: PredictRequest, signature: SignatureSpec) -> dict[str, Array]:
    """The arrays to feed, by input name; raises StatusError when the body does not fit the signature."""
    if not signature.inputs:
        raise invalid_argument(f"Failed to get input map for signature: {request.signature_name or 'DEFAULT'}")
    if request.blobs and signature.is_one_string:
        return {next(iter(signature.inputs)): bytes_array(request.blobs)}
    document = parse_object(request.body) if request.document is None else request.document
    if "instances" in document and "inputs" in document:
        raise invalid_argument(
            f"JSON Value: {shown(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist "
        )
    if "instances" in document:
        return _row_tensors(document, signature.inputs)
    if "inputs" in document:
        return _column_tensors(document["inputs"], signature.inputs)
    raise invalid_argument("Missing 'inputs' or 'instances' key")


def _row_tensors(document: dict[str, Any], inputs: Mapping[str, str]) -> dict[str, Array]:
    instances = document["instances"]
    if type(instances) is not list:
        raise invalid_argument(f"JSON Value: {shown(document)} Excepting 'instances' to be an list/array")
    if not instances:
        raise invalid_argument(f"JSON Value: {shown(document)} No values in 'instances' array")
    if type(instances[0]) is not dict and len(inputs) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    if _names_inputs(instances[0]):
        _check_keys(instances, set(inputs))
        return {
            name: _rows([instance[name] for instance in instances], dtype, f" key: {name}")
            for name, dtype in inputs.items()
        }
    for index, instance in enumerate(instances):
        if _names_inputs(instance):
            raise invalid_argument(f"Expecting value/list but got object at item {index} of input list")
    name, dtype = next(iter(inputs.items()))
    return {name: _rows(instances, dtype, "")}


def _names_inputs(value: object) -> bool:
    """Whether an object is a map of inputs and not a base64 value."""
    return type(value) is dict and not (len(value) == 1 and type(value.get("b64")) is str)


def _check_keys(instances: list[Any], names: set[str]) -> None:
    for index, instance in enumerate(instances):
        if not _names_inputs(instance):
            raise invalid_argument(f"Expecting object but got list at item {index} of input list")
        for key in instance:
            if key not in names:
                raise _in_element(index, f" key: {key}", f"JSON object: does not have named input: {key}")
        if instance.keys() != names:
            raise invalid_argument(
                f"Failed to process element: {index} of 'instances' list. JSON object: {shown(instance)} "
                f"keys must be equal to: {','.join(sorted(names))}"
            )


def _rows(items: list[Any], dtype: str, key: str) -> Array:
    """Items of one shape, stacked along a new first axis."""
    try:
        return dense_array(items, dtype)
    except StatusError as error:
        # Only now is it worth the time to find out which item is to blame.
        _blame(items, dtype, key)
        raise error


def _blame(items: list[Any], dtype: str, key: str) -> None:
    first: Array | None = None
    for index, item in enumerate(items):
        try:
            array = dense_array(item, dtype)
        except StatusError as error:
            raise _in_element(index, key, error.message, error.code) from error
        first = array if first is None else first
        if array.size != first.size:
            raise _in_element(index, key, f"Expecting tensor size: {first.size} but got: {array.size}")
        if array.shape != first.shape:
            raise _in_element(index, key, f"Expecting shape {_shape(first)} but got: {_shape(array)}")


def _in_element(index: int, key: str, message: str, code: Code = Code.INVALID_ARGUMENT) -> StatusError:
    return invalid_argument(
        f"Failed to process element: {index}{key} of 'instances' list. Error: {code.name}: {message}"
    )


def _shape(array: Array) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"


def _column_tensors(columns: object, inputs: Mapping[str, str]) -> dict[str, Array]:
    if not _names_inputs(columns):
        if len(inputs) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        name, dtype = next(iter(inputs.items()))
        return {name: dense_array(columns, dtype)}
    named: dict[str, Any] = columns  # type: ignore[assignment]  # by _names_inputs
    for name in inputs:
        if name not in named:
            raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
    return {name: dense_array(named[name], dtype) for name, dtype in inputs.items()}


def predict_answer(outputs: Mapping[str, Array], signature: SignatureSpec, *, in_rows: bool) -> bytes:
    """The body of a successful answer; raises StatusError when the outputs cannot be put into that form."""
    text = _row_answer(outputs, signature.outputs) if in_rows else _column_answer(outputs, signature.outputs)
    return text.encode("utf-8", "surrogateescape")


def _row_answer(outputs: Mapping[str, Array], dtypes: Mapping[str, str]) -> str:
    columns = {}
    batch_size = -1
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
        if batch_size not in (-1, len(array)):
            raise invalid_argument(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {batch_size}"
            )
        batch_size = len(array)
        columns[name] = _row_tokens(name, array, dtypes[name])
    if len(columns) == 1:
        rows = next(iter(columns.values()))
    else:
        rows = [
            "{" + ", ".join(f"{json.dumps(name)}: {tokens[row]}" for name, tokens in columns.items()) + "}"
            for row in range(batch_size)
        ]
    return '{\n    "predictions": [' + ", ".join(rows) + "]\n}"


def _row_tokens(name: str, array: Array, dtype: str) -> list[str]:
    tokens = json_elements(name, array, dtype)
    size = math.prod(array.shape[1:])
    return [nest(tokens[row * size : (row + 1) * size], array.shape[1:]) for row in range(len(array))]


def _column_answer(outputs: Mapping[str, Array], dtypes: Mapping[str, str]) -> str:
    columns = {name: nest(json_elements(name, array, dtypes[name]), array.shape) for name, array in outputs.items()}
    if len(columns) == 1:
        return '{\n    "outputs": ' + next(iter(columns.values())) + "\n}"
    members = ",\n".join(f"        {json.dumps(name)}: {column}" for name, column in columns.items())
    return '{\n    "outputs": {\n' + members + "\n    }\n}"


def error_answer(message: str) -> bytes:
    """The body of every answer that is an error."""
    return json.dumps({"error": message}).encode("ascii")
