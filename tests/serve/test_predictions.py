"""Predictions over REST: what goes in, what comes out, and the words of a refusal, as TensorFlow Serving has them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from support.model_server import HALF, ZOO, Document, ServerProcess, b64
from support.served_models import PASSING


@pytest.mark.parametrize(
    ("path", "document", "answer"),
    [
        (HALF, {"instances": [[1.0], [2], [3.5]]}, {"predictions": [[3.5], [4.0], [4.75]]}),
        (HALF, {"inputs": [[1.0], [2.0]]}, {"outputs": [[3.5], [4.0]]}),
        (HALF, {"inputs": {"x": [[1.0]], "unknown": 1}}, {"outputs": [[3.5]]}),
        (HALF, {"instances": [{"x": [1.0]}]}, {"predictions": [[3.5]]}),
        (HALF, {"inputs": []}, {"outputs": []}),
        (HALF + "/versions/1", {"instances": [[1.0]]}, {"predictions": [[2.5]]}),
        (HALF + "/labels/stable", {"instances": [[1.0]]}, {"predictions": [[2.5]]}),
        (HALF + "/labels/canary", {"instances": [[1.0]]}, {"predictions": [[3.5]]}),
        ("/V1/Models/half", {"instances": [[1.0]]}, {"predictions": [[3.5]]}),
        # A declared shape is checked by the graph's operations alone.
        (HALF, {"instances": [[1.0, 2.0], [3.0, 4.0]]}, {"predictions": [[3.5, 4.0], [4.5, 5.0]]}),
        (
            ZOO,
            {"instances": [{"a": 1.5, "b": 1}, {"b": 3, "a": 2}]},
            {"predictions": [{"sum": 2.5, "greater": True}, {"sum": 5.0, "greater": False}]},
        ),
        (ZOO, {"inputs": {"a": [1.0, 2.0], "b": [1]}}, {"outputs": {"sum": [2.0, 3.0], "greater": [False, True]}}),
        (ZOO, {"signature_name": "total", "inputs": [1.0, 2.0]}, {"outputs": 3.0}),
        (ZOO, {"signature_name": "uneven", "inputs": [1.0, 2.0]}, {"outputs": {"all": [1.0, 2.0], "first": [1.0]}}),
        (ZOO, {"signature_name": "any_rank", "inputs": 7}, {"outputs": 7.0}),
        (ZOO, {"signature_name": "any_rank", "instances": [[[1]], [[2]]]}, {"predictions": [[[1.0]], [[2.0]]]}),
        (
            ZOO,
            {"signature_name": "pixels", "instances": [b64(b"\xff\xff\xff\xff"), b64(b"\0\0\0\0")]},
            {"predictions": [1.0, 0.0]},
        ),
        (ZOO, {"signature_name": "pixels", "inputs": {"pixels": [b64(b"\0\xff\xff\0")]}}, {"outputs": [0.5]}),
        (
            ZOO,
            {"signature_name": "echo", "instances": ["plain é", b64(b"coded")]},
            {
                "predictions": [
                    {"text": "plain é", "copy_bytes": b64("plain é".encode())},
                    {"text": "coded", "copy_bytes": b64(b"coded")},
                ]
            },
        ),
    ],
)
def test_predictions(server: ServerProcess, path: str, document: Document, answer: dict[str, Any]) -> None:
    response = server.post(path + ":predict", document)
    assert (response.status_code, response.json()) == (200, answer)
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("path", "document", "status", "error"),
    [
        # The body is parsed before the model is looked up.
        ("/v1/models/unknown:predict", b"{", 400, "JSON Parse error"),
        ("/v1/models/unknown:predict", {"instances": [1.0]}, 404, "Servable not found for request: Latest(unknown)"),
        (HALF + "/versions/9:predict", {"instances": [1.0]}, 404, "Servable not found for request: Specific(half, 9)"),
        (HALF + "/versions/" + "9" * 30 + ":predict", {"instances": [1.0]}, 400, "Failed to convert version"),
        (HALF + "/labels/none:predict", {"instances": [1.0]}, 400, "Unrecognized servable version label: none"),
        (HALF + ":predict", {"signature_name": "none", "instances": [1]}, 400, 'signature name: "none" not found'),
        (HALF + ":predict", {"signature_name": 1, "instances": [1]}, 400, "'signature_name' key must be a string"),
        (HALF + ":predict", b"", 400, "JSON Parse error: The document is empty"),
        (HALF + ":predict", b"[1.0]", 400, "Is not object"),
        (HALF + ":predict", {"instances": []}, 400, "No values in 'instances' array"),
        (HALF + ":predict", {"instances": [["x"]]}, 400, 'JSON Value: "x" Type: String is not of expected type: float'),
        (HALF + ":predict", {"instances": [[None]]}, 400, "Type: Null is not of expected type: float"),
        (HALF + ":predict", {"inputs": [1.0], "instances": [1.0]}, 400, "only one of 'inputs' or 'instances'"),
        (HALF + ":predict", {}, 400, "Missing 'inputs' or 'instances' key"),
        (ZOO + ":predict", {"instances": [1.0]}, 400, "expecting list of objects as multiple input tensors required"),
        (ZOO + ":predict", {"instances": [{"a": 1.0, "b": 2.0}]}, 400, "Failed to process element: 0 key: b"),
        (ZOO + ":predict", {"inputs": {"a": [1.0]}}, 400, "Missing named input: b"),
        (ZOO + ":predict", {"signature_name": "mixed", "instances": [b64(b"x")]}, 400, "input size does not match"),
        (ZOO + ":predict", {"signature_name": "total", "instances": [1.0]}, 400, "total has no shape information"),
        (ZOO + ":predict", {"signature_name": "uneven", "instances": [1, 2]}, 400, "has inconsistent batch size: 1"),
        (ZOO + ":predict", {"signature_name": "pixels", "instances": [{"b64": "AA*="}]}, 400, "base64 decode"),
        (ZOO + ":predict", {"signature_name": "pixels", "instances": [{"b64": "__79"}]}, 400, "base64 decode"),
        # The graph's own complaint: three bytes do not make rows of four.
        (ZOO + ":predict", {"signature_name": "pixels", "instances": [b64(b"abc")]}, 400, "multiple of 4"),
        (HALF + ":predict", {"signature_name": "picky", "instances": [5.0]}, 400, "too much"),
        (HALF + ":predict", {"signature_name": "slow", "instances": [30.0]}, 504, "Timed out waiting for notification"),
        (HALF + ":classify", b"{", 400, "JSON Parse error"),
        (HALF + ":classify", {"examples": [{"x": 1.0}]}, 501, ":classify is not implemented"),
        (HALF + ":regress", {"examples": [{"x": 1.0}]}, 501, ":regress is not implemented"),
        ("/v1/models/types:predict", {"signature_name": "float16", "inputs": 1.0}, 501, "to type: half"),
        ("/v1/models/types:predict", {"signature_name": "float16", "instances": [1.0]}, 400, "to type: half"),
        ("/v1/models/types:predict", {"signature_name": "to_float16", "inputs": 1.0}, 400, "tensor type: half"),
        (HALF, {"instances": [1.0]}, 400, "Malformed request: POST /v1/models/half"),
        (HALF + ":predict?x=1", {"instances": [1.0]}, 400, "Malformed request: POST /v1/models/half:predict?x=1"),
        (HALF + ":explain", {"instances": [1.0]}, 400, "Malformed request: POST /v1/models/half:explain"),
        ("/v1/nothing", b"", 400, "Malformed request: POST /v1/nothing"),
    ],
)
def test_errors_have_tensorflow_servings_status_and_words(
    server: ServerProcess, path: str, document: Document, status: int, error: str
) -> None:
    response = server.post(path, document)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    assert list(response.json()) == ["error"]
    assert error in response.json()["error"]


def test_bare_nan_and_infinity_go_both_ways(server: ServerProcess) -> None:
    body = b'{"signature_name": "inverse", "instances": [NaN, Infinity, -Infinity, 0.0, -0.0]}'
    answer = server.post(ZOO + ":predict", body)
    assert "[NaN, 0.0, -0.0, Infinity, -Infinity]" in answer.text
    assert math.isnan(answer.json()["predictions"][0])


@pytest.mark.parametrize("dtype", PASSING)
def test_every_type_that_passes_rest_comes_back_the_same(server: ServerProcess, dtype: str) -> None:
    values = {"float32": [0.1, -3.0], "float64": [1 / 3, 1e300], "bool": [True, False], "string": ["a", ""]}
    sent = values.get(dtype, [[1, 2], [3, 4]])
    answer = server.post("/v1/models/types:predict", {"signature_name": dtype, "instances": sent})
    assert answer.json() == {"predictions": sent}


def test_text_output_that_is_no_utf8_passes_as_it_is(server: ServerProcess) -> None:
    answer = server.post(ZOO + ":predict", {"signature_name": "text_only", "instances": [b64(b"\xff\xfe")]})
    assert answer.status_code == 200
    assert b'"\xff\xfe"' in answer.content


def test_a_large_batch_of_raw_images_is_answered_in_order(server: ServerProcess) -> None:
    images = [bytes([value]) * 4 for value in range(256)] * 400
    document = {"signature_name": "pixels", "instances": [b64(image) for image in images]}
    scores = server.post(ZOO + ":predict", document).json()["predictions"]
    assert [round(score * 255) for score in scores] == [image[0] for image in images]
