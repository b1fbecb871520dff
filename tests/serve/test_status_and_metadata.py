"""What the server says of its models: states of versions, signatures, and paths that it does not know."""

from __future__ import annotations

from typing import Any

import psutil
import pytest
import requests
from support.model_server import HALF, ZOO, ServedFolders, ServerProcess


def test_the_port_opens_only_once_every_model_is_served(served: ServedFolders) -> None:
    assert not served.listened_before_every_model_was_there
    assert served.server.half_plus("late") == 2.0


def test_only_loopback_is_listened_on(server: ServerProcess) -> None:
    listening = psutil.Process(server.process.pid).net_connections("tcp")
    addresses = {each.laddr.ip for each in listening if each.status == psutil.CONN_LISTEN}
    assert addresses == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", HALF + ":predict", 400, "Malformed request: GET /v1/models/half:predict"),
        ("PUT", HALF, 400, "Malformed request: PUT /v1/models/half"),
        ("DELETE", HALF, 400, "Malformed request: DELETE /v1/models/half"),
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/", 400, "Malformed request: GET /v1/"),
        ("GET", "/v1/models/unknown", 404, "Could not find any versions of model unknown"),
        ("GET", HALF + "/versions/9", 404, "Could not find version 9 of model half"),
        ("GET", "/v1/models/unknown/metadata", 404, "Servable not found for request: Latest(unknown)"),
        ("GET", HALF + "/versions/9/metadata", 404, "Servable not found for request: Specific(half, 9)"),
        ("GET", HALF + "/labels/none/metadata", 400, "Unrecognized servable version label: none"),
    ],
)
def test_other_methods_and_paths(server: ServerProcess, method: str, path: str, status: int, error: str) -> None:
    response = requests.request(method, server.url + path, timeout=60)
    assert (response.status_code, response.json()) == (status, {"error": error})


@pytest.mark.parametrize("path", ["/", "/health", "/v2/models/half", "/v1"])
def test_outside_v1_there_is_an_html_404(server: ServerProcess, path: str) -> None:
    response = server.get(path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "text/html"
    assert "<H1>Not Found</H1>" in response.text


VERSION_2, VERSION_1 = (
    {"version": number, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}} for number in "21"
)


@pytest.mark.parametrize(
    ("path", "lines"),
    [
        (HALF, [VERSION_2, VERSION_1]),
        (HALF + "/versions/1", [VERSION_1]),
        (HALF + "/labels/never_heard_of", [VERSION_2, VERSION_1]),
    ],
)
def test_status_lists_the_newest_first_and_ignores_labels(
    server: ServerProcess, path: str, lines: list[dict[str, Any]]
) -> None:
    assert server.get(path).json() == {"model_version_status": lines}


def test_leading_zeros_of_a_version_folder_do_not_count(server: ServerProcess) -> None:
    assert server.states("types") == {123: "AVAILABLE"}


def tensor(dtype: str, *sizes: int) -> tuple[str, dict[str, Any]]:
    shape = {"dim": [{"size": str(size), "name": ""} for size in sizes], "unknown_rank": not sizes}
    return dtype, shape


@pytest.mark.parametrize(
    ("path", "version", "signature", "inputs", "outputs"),
    [
        (HALF, "2", "serving_default", {"x": tensor("DT_FLOAT", -1, 1)}, {"y": tensor("DT_FLOAT", -1, 1)}),
        (HALF + "/versions/1", "1", "picky", {"x": tensor("DT_FLOAT", -1)}, {"y": tensor("DT_FLOAT", -1)}),
        (HALF + "/labels/stable", "1", "picky", {"x": tensor("DT_FLOAT", -1)}, {"y": tensor("DT_FLOAT", -1)}),
        (ZOO, "1", "any_rank", {"x": tensor("DT_FLOAT")}, {"y": tensor("DT_FLOAT")}),
        (ZOO, "1", "pixels", {"pixels": tensor("DT_STRING", -1)}, {"score": tensor("DT_FLOAT", -1)}),
    ],
)
def test_metadata_shows_the_signatures(
    server: ServerProcess, path: str, version: str, signature: str, inputs: dict[str, Any], outputs: dict[str, Any]
) -> None:
    document = server.get(path + "/metadata").json()
    name = path.split("/")[3]
    assert document["model_spec"] == {"name": name, "signature_name": "", "version": version}
    shown = document["metadata"]["signature_def"]["signature_def"][signature]
    assert shown["method_name"] == "tensorflow/serving/predict"
    assert shown["defaults"] == {}
    for side, expected in (("inputs", inputs), ("outputs", outputs)):
        assert {key: (info["dtype"], info["tensor_shape"]) for key, info in shown[side].items()} == expected
