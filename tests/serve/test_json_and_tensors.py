"""JSON to tensors and back, as TensorFlow Serving does it. No TensorFlow, no server."""

from __future__ import annotations

import base64
import json
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.model_server import Document

from sniffer_serve.app import unpack_gzip
from sniffer_serve.errors import Code, StatusError
from sniffer_serve.rest import SignatureSpec, parse_object, parse_predict, predict_answer, request_tensors
from sniffer_serve.tensors import Array, decode_base64, dense_array, json_elements, nest

FLOATS = SignatureSpec("serving_default", {"x": "float"}, {"y": "float"})
STRINGS = SignatureSpec("serving_default", {"s": "string"}, {"y": "float"})
PAIR = SignatureSpec("serving_default", {"a": "float", "b": "int64"}, {"y": "float"})


def tensors(document: Document, signature: SignatureSpec) -> dict[str, Array]:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return request_tensors(parse_predict(body), signature)


def refusal(document: Document, signature: SignatureSpec) -> StatusError:
    with pytest.raises(StatusError) as caught:
        tensors(document, signature)
    return caught.value


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        ([1, 2.5], "float", np.array([1, 2.5], np.float32)),
        (7, "float", np.float32(7)),
        ([], "float", np.zeros(0, np.float32)),
        ([[], []], "int64", np.zeros((2, 0), np.int64)),
        ([[[1], [2]]], "int32", np.array([[[1], [2]]], np.int32)),
        ([1e39, -1e39, 1e-50], "float", np.array([math.inf, -math.inf, 0], np.float32)),
        ([2**63 - 1, -(2**63)], "int64", np.array([2**63 - 1, -(2**63)])),
        ([2**64 - 1], "uint64", np.array([2**64 - 1], np.uint64)),
        ([300, -1], "uint8", np.array([44, 255], np.uint8)),
        ([True, False], "bool", np.array([True, False])),
    ],
)
def test_values_become_an_array_of_the_type(value: Any, dtype: str, expected: Array) -> None:
    array = dense_array(value, dtype)
    assert array.dtype == expected.dtype
    assert array.shape == expected.shape
    assert np.array_equal(array, expected)


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (["x"], "float", 'JSON Value: "x" Type: String is not of expected type: float'),
        ([True], "float", "JSON Value: true Type: True is not of expected type: float"),
        ([None], "float", "JSON Value: null Type: Null is not of expected type: float"),
        ([2.0], "int64", "JSON Value: 2.0 Type: Number is not of expected type: int64"),
        ([2**31], "int32", "JSON Value: 2147483648 Type: Number is not of expected type: int32"),
        ([-1], "uint32", "JSON Value: -1 Type: Number is not of expected type: uint32"),
        ([2**64], "uint64", "is not of expected type: uint64"),
        ([1], "bool", "JSON Value: 1 Type: Number is not of expected type: bool"),
        ([1], "string", "JSON Value: 1 Type: Number is not of expected type: string"),
        ([{"b64": "QQ=="}], "float", "Type: Object is not of expected type: float"),
        ([{"b64": "QQ==", "x": 1}], "string", "not formatted correctly for base64 data"),
        ([{"b64": 1}], "string", "not formatted correctly for base64 data"),
        ([{"b64": "Q*=="}], "string", "Unable to base64 decode"),
        (["\ud800"], "string", "The surrogate pair in string is invalid"),
        ([[1, 2], [3]], "float", "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        ([[1], 2], "float", "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        ([1, [2]], "float", "Encountered list at unexpected level: 1 expected < 1"),
        ([10**400], "float", "Number too big"),
    ],
)
def test_values_that_are_not_of_the_type_or_ragged_are_refused(value: Any, dtype: str, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        dense_array(value, dtype)
    assert caught.value.code == Code.INVALID_ARGUMENT
    assert message in caught.value.message


def test_types_that_do_not_pass_rest_are_unimplemented_in_columns_and_invalid_in_rows() -> None:
    halves = SignatureSpec("s", {"x": "half"}, {"y": "half"})
    assert refusal({"inputs": [1.5]}, halves).code == Code.UNIMPLEMENTED
    assert refusal({"instances": [1.5]}, halves).code == Code.INVALID_ARGUMENT
    with pytest.raises(StatusError, match="Failed to write JSON value for tensor type: half"):
        json_elements("y", np.zeros(1, np.float16), "half")


@pytest.mark.parametrize("text", ["AAECAw==", "AAECAw", "AAEC\nAw=="])
def test_base64_needs_no_padding_and_ignores_white_space(text: str) -> None:
    assert decode_base64(text) == b"\0\1\2\3"


@pytest.mark.parametrize("text", ["AAEC*w==", "AAECA", "AAECAw=", "AAECAw===", "__79", "AA=CAw", "A", "é"])
def test_base64_with_stray_characters_or_wrong_padding_is_refused(text: str) -> None:
    with pytest.raises(StatusError, match="Unable to base64 decode"):
        decode_base64(text)
    assert refusal({"instances": [{"b64": "AAAA"}, {"b64": text}]}, STRINGS).code == Code.INVALID_ARGUMENT


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=5))
def test_the_fast_and_the_general_way_give_the_same_bytes(blobs: list[bytes]) -> None:
    instances = [{"b64": base64.b64encode(blob).decode()} for blob in blobs]
    fast = tensors({"instances": instances}, STRINGS)["s"]
    general = tensors({"instances": instances, "unheard_of": 1}, STRINGS)["s"]
    assert fast.tolist() == general.tolist() == blobs
    assert fast.shape == general.shape == (len(blobs),)


def test_the_fleets_form_is_decoded_while_parsing() -> None:
    body = json.dumps({"signature_name": "pixels", "instances": [{"b64": "AAEC"}]}).encode()
    request = parse_predict(body)
    assert (request.signature_name, request.blobs, request.document) == ("pixels", [b"\0\1\2"], None)


def test_rows_of_plain_values_are_stacked() -> None:
    assert tensors({"instances": [[1.0, 2], [3, 4]]}, FLOATS)["x"].tolist() == [[1, 2], [3, 4]]


def test_rows_of_objects_are_stacked_by_input() -> None:
    rows = tensors({"instances": [{"a": 1, "b": [2]}, {"b": [4], "a": 3}]}, PAIR)
    assert rows["a"].tolist() == [1, 3]
    assert rows["b"].tolist() == [[2], [4]]


def test_rows_may_name_the_only_input() -> None:
    assert tensors({"instances": [{"s": {"b64": "QUI="}}, {"s": "x"}]}, STRINGS)["s"].tolist() == [b"AB", b"x"]


def test_columns_may_differ_in_length_and_extra_ones_are_ignored() -> None:
    columns = tensors({"inputs": {"a": [1.0, 2.0, 3.0], "b": 4, "c": None}}, PAIR)
    assert columns["a"].shape == (3,)
    assert columns["b"].shape == ()


def test_a_column_may_be_bare_empty_or_one_base64_value() -> None:
    assert tensors({"inputs": []}, FLOATS)["x"].shape == (0,)
    assert tensors({"inputs": {"b64": "QQ"}}, STRINGS)["s"].item() == b"A"


@pytest.mark.parametrize(
    ("document", "signature", "message"),
    [
        ({}, FLOATS, "Missing 'inputs' or 'instances' key"),
        ({"instances": [1.0], "inputs": [1.0]}, FLOATS, "expecting only one of 'inputs' or 'instances' keys"),
        ({"instances": []}, FLOATS, "No values in 'instances' array"),
        ({"instances": 1}, FLOATS, "Excepting 'instances' to be an list/array"),
        ({"instances": [1.0]}, PAIR, "instances is a plain list, but expecting list of objects"),
        ({"instances": [{"a": 1, "b": 2}, 3]}, PAIR, "Expecting object but got list at item 1"),
        ({"instances": [1.0, {"x": 1.0}]}, FLOATS, "Expecting value/list but got object at item 1"),
        ({"instances": [{"a": 1, "c": 2}]}, PAIR, "does not have named input: c"),
        ({"instances": [{"a": 1, "b": 1}, {"a": 1}]}, PAIR, "element: 1 of 'instances' list. JSON object: "),
        ({"instances": [{"a": 1}]}, PAIR, "keys must be equal to: a,b"),
        ({"instances": [{"a": 1, "b": 2.5}]}, PAIR, "Failed to process element: 0 key: b of 'instances' list."),
        ({"instances": [[1], [1, 2]]}, FLOATS, "Failed to process element: 1 of 'instances' list. Error: "),
        ({"instances": [[1], [1, 2]]}, FLOATS, "Expecting tensor size: 1 but got: 2"),
        ({"instances": [[1], [[1]]]}, FLOATS, "Expecting shape [1] but got: [1,1]"),
        ({"inputs": {"a": [1.0]}}, PAIR, "Missing named input: b in 'inputs' object."),
        ({"inputs": [1.0]}, PAIR, "inputs is a plain value/list, but expecting an object"),
        ({"instances": [1.0], "signature_name": 5}, FLOATS, "'signature_name' key must be a string value."),
        ({"instances": [{"b64": "QQ=="}]}, FLOATS, "Type: Object is not of expected type: float"),
    ],
)
def test_bodies_that_do_not_fit_the_signature_are_refused(
    document: Document, signature: SignatureSpec, message: str
) -> None:
    error = refusal(document, signature)
    assert error.code == Code.INVALID_ARGUMENT
    assert message in error.message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"  \n", "JSON Parse error: The document is empty"),
        (b"{", "JSON Parse error: "),
        (b'{"instances": [1 2]}', "JSON Parse error: "),
        (b"[1]", "Is not object"),
        (b'{"a": ' + b"[" * 100_000, "JSON Parse error: "),
        (b'{"a": ' + b"9" * 5000 + b"}", "JSON Parse error: "),
    ],
)
def test_bodies_that_are_no_json_object_are_refused(body: bytes, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        parse_predict(body)
    assert caught.value.code == Code.INVALID_ARGUMENT
    assert message in caught.value.message


def test_bare_nan_and_infinity_are_numbers_and_text_after_the_object_is_ignored() -> None:
    document = parse_object(b'\xef\xbb\xbf {"inputs": [NaN, Infinity, -Infinity]} and more')
    array = dense_array(document["inputs"], "float")
    assert np.isnan(array[0])
    assert array[1:].tolist() == [math.inf, -math.inf]


def test_bytes_that_are_no_utf8_pass_through_plain_strings() -> None:
    assert tensors(b'{"instances": ["\xff\xfe", "\xc3\xa9"]}', STRINGS)["s"].tolist() == [b"\xff\xfe", b"\xc3\xa9"]


@pytest.mark.parametrize(
    ("value", "dtype", "token"),
    [
        (3.0, "float", "3.0"),
        (0.2, "float", "0.2"),
        (1 / 3, "float", "0.333333343"),
        (16777216.0, "float", "16777216.0"),
        (9e6, "float", "9e+06"),
        (3e-05, "float", "3e-05"),
        (-0.0, "float", "-0.0"),
        (0.1, "double", "0.1"),
        (1 / 3, "double", "0.33333333333333331"),
        (math.nan, "float", "NaN"),
        (math.inf, "double", "Infinity"),
        (-math.inf, "float", "-Infinity"),
        (-5, "int64", "-5"),
        (True, "bool", "true"),
        (b'a"\xc3\xa9', "string", '"a\\"é"'),
    ],
)
def test_elements_are_written_as_tensorflow_serving_writes_them(value: Any, dtype: str, token: str) -> None:
    numpy_type = {"float": np.float32, "double": np.float64, "string": object}.get(dtype)
    assert json_elements("y", np.array([value], numpy_type), dtype) == [token]


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20))
def test_float32_round_trips(values: list[float]) -> None:
    array = np.array(values, np.float32)
    again = np.array(json.loads("[" + ",".join(json_elements("y", array, "float")) + "]"), np.float32)
    assert again.tobytes() == array.tobytes()


def test_strings_of_an_output_named_bytes_become_base64_objects() -> None:
    blob = os.urandom(7) + b"\0"
    (token,) = json_elements("image_bytes", np.array([blob], object), "string")
    assert json.loads(token) == {"b64": base64.b64encode(blob).decode()}


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0), (0, 2), (2, 3), (2, 1, 3)])
def test_nesting_follows_the_shape(shape: tuple[int, ...]) -> None:
    array = np.arange(math.prod(shape), dtype=np.int64).reshape(shape)
    assert json.loads(nest(json_elements("y", array, "int64"), shape)) == array.tolist()


def answer(outputs: Mapping[str, Array], dtypes: Mapping[str, str], *, in_rows: bool) -> Any:
    return json.loads(predict_answer(outputs, SignatureSpec("s", {}, dtypes), in_rows=in_rows))


def test_one_output_is_bare_and_several_are_objects() -> None:
    one, two = {"y": np.array([[1.5], [2.5]])}, {"n": np.array([1, 2])}
    types = {"y": "double", "n": "int64"}
    assert answer(one, types, in_rows=True) == {"predictions": [[1.5], [2.5]]}
    assert answer(one | two, types, in_rows=True) == {"predictions": [{"y": [1.5], "n": 1}, {"y": [2.5], "n": 2}]}
    assert answer(one, types, in_rows=False) == {"outputs": [[1.5], [2.5]]}
    assert answer(one | two, types, in_rows=False) == {"outputs": {"y": [[1.5], [2.5]], "n": [1, 2]}}


def test_outputs_without_a_common_batch_dimension_cannot_be_rows() -> None:
    types = {"y": "double", "z": "double"}
    with pytest.raises(StatusError, match="Tensor name: y has no shape information"):
        answer({"y": np.array(1.0)}, types, in_rows=True)
    with pytest.raises(StatusError, match="Tensor name: z has inconsistent batch size: 3 expecting: 2"):
        answer({"y": np.zeros(2), "z": np.zeros(3)}, types, in_rows=True)
    assert answer({"y": np.array(1.0)}, types, in_rows=False) == {"outputs": 1.0}


def test_broken_and_bomb_like_gzip_bodies_count_as_empty() -> None:
    import gzip

    assert unpack_gzip(gzip.compress(b"{}")) == b"{}"
    assert unpack_gzip(b"no gzip") == b""
    assert unpack_gzip(gzip.compress(b"{}")[:-4]) == b""
    assert unpack_gzip(gzip.compress(bytes((100 << 20) + 1), 1)) == b""
