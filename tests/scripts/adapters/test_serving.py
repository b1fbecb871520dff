"""The REST client against a real HTTP server that answers as TensorFlow Serving does, well and badly."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from support.http_server import HttpAnswer, HttpRequest, HttpServer

from sniffer.adapters.metrics.meters import PrometheusMetrics
from sniffer.adapters.serving import ModelServer, ServedVersion
from sniffer.core.errors import ContractError, SettingsError, TransientError
from sniffer.core.metrics import Giver
from sniffer.core.model_records import PIXEL_BYTES
from sniffer.core.settings import ServingSettings

Answer = tuple[int, Any]


def signatures(found: dict[str, Any]) -> dict[str, Any]:
    return {"signature_def": {"signature_def": found}}


METADATA: dict[str, Any] = {
    "model_spec": {"name": "drug_detector", "signature_name": "", "version": "3"},
    "metadata": signatures({"pixels": {"inputs": {"pixels": {}}, "outputs": {"score": {}}}}),
}


def gray(level: int) -> bytes:
    return bytes([level]) * PIXEL_BYTES


class ScriptedServer(HttpServer):
    """Answers predict requests with the mean level, unless `script` has something else to say for this one."""

    def __init__(self) -> None:
        self.script: list[Callable[[list[bytes]], Answer | None]] = []
        self.always: Callable[[list[bytes]], Answer | None] = lambda _images: None
        self.metadata: Answer = (200, METADATA)
        self.states: Answer = (200, {"model_version_status": [{"version": "3", "state": "AVAILABLE"}]})
        self.asked: list[str] = []
        self.batches: list[int] = []
        super().__init__()
        self.model_url = f"{self.url}/v1/models/drug_detector"

    def respond(self, request: HttpRequest) -> HttpAnswer:
        status, document = self.answer(request.path, request.body)
        return HttpAnswer(status, document if isinstance(document, bytes) else json.dumps(document).encode())

    def answer(self, path: str, body: bytes) -> Answer:
        self.asked.append(path)
        if path.endswith("/metadata"):
            return self.metadata
        if not body:
            return self.states
        request = json.loads(body)
        assert request["signature_name"] == "pixels"
        assert path.endswith("/versions/3:predict")
        images = [base64.b64decode(item["b64"], validate=True) for item in request["instances"]]
        self.batches.append(len(images))
        scripted = (self.script.pop(0) if self.script else self.always)(images)
        return scripted or (200, {"predictions": [image[0] / 255 for image in images]})


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as scripted:
        yield scripted


def client(server: ScriptedServer, patience_s: float = 10, read_timeout_s: float = 5) -> ModelServer:
    return ModelServer(ServingSettings(server.model_url, patience_s, 1.0, read_timeout_s))


def test_scores_come_in_the_order_of_the_images(server: ScriptedServer) -> None:
    with client(server) as model:
        model.check(3)
        assert model.predict(3, [gray(255), gray(0), gray(51)]) == [1.0, 0.0, 0.2]
        assert model.predict(3, []) == []


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_transient_errors_are_retried(server: ScriptedServer, status: int) -> None:
    server.script = [lambda _: (status, {"error": "later"})] * 2
    with client(server) as model:
        assert model.predict(3, [gray(255)]) == [1.0]
    assert server.batches == [1, 1, 1]


def test_each_request_and_each_retry_is_counted(server: ScriptedServer) -> None:
    registry = CollectorRegistry()
    server.script = [lambda _: (503, {"error": "later"})] * 2
    settings = ServingSettings(server.model_url, patience_s=10)
    with ModelServer(settings, PrometheusMetrics(Giver.CONSUMER, registry)) as model:
        model.predict(3, [gray(255)])
    counted = {
        result: registry.get_sample_value("sniffer_model_server_seconds_count", {"result": result})
        for result in ("answered", "failed")
    }
    assert counted == {"answered": 1, "failed": 2}
    assert registry.get_sample_value("sniffer_retries_total", {"system": "serving"}) == 2


def test_patience_with_transient_errors_ends(server: ScriptedServer) -> None:
    server.always = lambda _: (503, {"error": "overloaded"})
    with client(server, patience_s=0.3) as model, pytest.raises(TransientError, match="503 overloaded"):
        model.predict(3, [gray(0)])


def test_a_refused_batch_size_is_halved_and_remembered(server: ScriptedServer) -> None:
    def at_most_5(images: list[bytes]) -> Answer | None:
        message = f"Task size {len(images)} is larger than maximum input batch size 5"
        return (400, {"error": message}) if len(images) > 5 else None

    server.always = at_most_5
    levels = list(range(0, 160, 10))
    with client(server) as model:
        for _ in range(2):
            assert model.predict(3, [gray(level) for level in levels]) == [level / 255 for level in levels]
    assert server.batches == [16, 8, 4, 4, 4, 4, 4, 4, 4, 4]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((404, {"error": "Servable not found for request: Specific(drug_detector, 3)"}), "version 3 .* 404 Servable"),
        ((400, {"error": "input must be 150528 bytes"}), "refuses to predict: 400 input"),
        ((413, {"error": "too large"}), "refuses to predict: 413"),
        ((200, {"predictions": [0.1, 0.2]}), "no 1 predictions"),
        ((200, {"predictions": [[0.1]]}), r"the score \[0.1\]"),
        ((200, {"predictions": [1.5]}), "the score 1.5"),
        ((200, b'{"predictions": [NaN]}'), "the score NaN"),
        ((200, b"<html>not it</html>"), "no 1 predictions"),
        ((200, {"predictions": []}), "no 1 predictions"),
        ((200, {"predictions": {"0": 0.5}}), "no 1 predictions"),
        ((200, {"predictions": ["0.5"]}), 'the score "0.5"'),
        ((200, {"predictions": [True]}), "the score true"),
        ((200, {"predictions": [None]}), "the score null"),
        ((200, {"predictions": [-0.1]}), "the score -0.1"),
        ((200, b'{"predictions": [Infinity]}'), "the score Infinity"),
        ((200, b'{"predictions": [1e999]}'), "the score Infinity"),
        ((200, b"[" * 100_000), "no 1 predictions"),
        ((200, b""), "no 1 predictions"),
        ((302, {"predictions": [0.5]}), "a redirection"),
    ],
)
def test_answers_that_are_no_scores_stop_the_scan(server: ScriptedServer, answer: Answer, message: str) -> None:
    server.always = lambda _: answer
    with client(server) as model, pytest.raises(ContractError, match=message):
        model.predict(3, [gray(0)])


@pytest.mark.parametrize(
    ("metadata", "error", "message"),
    [
        ((404, {"error": "Servable not found"}), ContractError, r"version 3 is not served at .* it serves only \[3\]"),
        ((200, METADATA | {"metadata": signatures({"other": {}})}), ContractError, r"only \['other'\]"),
        (
            (200, METADATA | {"model_spec": {"version": "2"}}),
            ContractError,
            "asked for model version 3, and answers for 2",
        ),
        ((200, b"<html>"), SettingsError, "does not answer like TensorFlow Serving"),
        (
            (200, METADATA | {"metadata": signatures({"pixels": {"inputs": {"x": {}}}})}),
            ContractError,
            r"must take 'pixels' and give 'score', not \['x'\]",
        ),
    ],
)
def test_what_is_wrong_with_the_model_is_known_beforehand(
    server: ScriptedServer, metadata: Answer, error: type[Exception], message: str
) -> None:
    server.metadata = metadata
    with client(server) as model, pytest.raises(error, match=message):
        model.check(3)


def test_a_server_that_hangs_is_given_up_in_time(server: ScriptedServer) -> None:
    hold = threading.Event()

    def hang(_images: list[bytes]) -> None:
        hold.wait(10)

    server.always = hang
    with client(server, patience_s=0.1, read_timeout_s=0.3) as model, pytest.raises(TransientError, match="timed out"):
        model.predict(3, [gray(0)])
    hold.set()


def test_pixels_of_the_wrong_size_never_leave(server: ScriptedServer) -> None:
    with client(server) as model, pytest.raises(ValueError, match="150528"):
        model.predict(3, [b"short"])
    assert server.batches == []


def test_encoded_images_go_to_the_signature_for_people(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []

    def answer(_path: str, body: bytes) -> Answer:
        sent.append(json.loads(body))
        return 200, {"predictions": [0.25]}

    monkeypatch.setattr(server, "answer", answer)
    with client(server) as model:
        assert model.predict_encoded(3, [b"a JPEG"]) == [0.25]
    assert sent == [{"signature_name": "serving_default", "instances": [{"b64": base64.b64encode(b"a JPEG").decode()}]}]


def states(*lines: dict[str, Any]) -> Answer:
    return 200, {"model_version_status": list(lines)}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            states(
                {"version": "4", "state": "END", "status": {"error_code": "INTERNAL", "error_message": "no graph"}},
                {"version": "3", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}},
                {"version": "2", "state": "END", "status": {}},
            ),
            (ServedVersion(4, "END", "INTERNAL: no graph"), ServedVersion(3, "AVAILABLE"), ServedVersion(2, "END")),
        ),
        ((404, {"error": "Could not find any versions of model drug_detector"}), ()),
    ],
)
def test_the_state_of_every_version(
    server: ScriptedServer, answer: Answer, expected: tuple[ServedVersion, ...]
) -> None:
    server.states = answer
    with client(server) as model:
        found = model.version_states()
    assert found == expected
    assert [state.version for state in found if state.has_failed] == [4] * bool(expected)
    assert [state.version for state in found if state.is_available] == [3] * bool(expected)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((200, {"model_spec": {"name": "drug_detector", "version": "3"}}), 3),
        ((400, {"error": "Unrecognized servable version label: stable"}), None),
        ((404, {"error": "Servable not found"}), None),
    ],
)
def test_what_a_label_stands_for(server: ScriptedServer, answer: Answer, expected: int | None) -> None:
    server.metadata = answer
    with client(server) as model:
        assert model.labelled_version("stable") == expected
    assert server.asked == ["/v1/models/drug_detector/labels/stable/metadata"]


@pytest.mark.parametrize("answer", [(404, b"<html>"), (200, {"other": 1}), (200, b"<html>")])
def test_a_server_that_is_none_is_told_from_one_that_serves_nothing(server: ScriptedServer, answer: Answer) -> None:
    server.states = server.metadata = answer
    with client(server) as model:
        for ask in (model.version_states, lambda: model.labelled_version("stable")):
            with pytest.raises(SettingsError, match="does not answer like TensorFlow Serving"):
                ask()
