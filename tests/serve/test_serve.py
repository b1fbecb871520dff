"""The model server as a process: real SavedModels, real HTTP. Most tests share one, since each start takes seconds."""

import base64
import gzip
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager

import pytest
import requests

START_LIMIT_S = 150
POLL_S = 1


# --- SavedModels, made once -------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def saved_models(tmp_path_factory):
    """Folder of SavedModels, each without a version folder: copy one to publish it."""
    import tensorflow as tf

    root = tmp_path_factory.mktemp("saved_models")
    for name, offset in (("plus_two", 2.0), ("plus_three", 3.0)):
        save_half_plus(tf, root / name, offset)
    save_zoo(tf, root / "zoo")
    save_types(tf, root / "types")
    write_warm_up(tf, root / "plus_two", "serving_default", [[1.0, 2.0]])
    save_half_plus(tf, root / "bad_warm_up", 9.0)
    write_warm_up(tf, root / "bad_warm_up", "picky", [1.0, 2.0, 3.0])
    save_half_plus(tf, root / "torn_warm_up", 9.0)
    (root / "torn_warm_up" / "assets.extra").mkdir()
    (root / "torn_warm_up" / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"no TFRecord at all")
    return root


def spec(tf, shape, dtype, name):
    return tf.TensorSpec(shape, dtype, name=name)


def save(tf, module, path, signatures):
    """Save functions given as (callable, tensor specs) under their signature names."""
    functions = {}
    for name, (function, specs) in signatures.items():
        functions[name] = tf.function(function, input_signature=specs)
        setattr(module, f"signature_{name}", functions[name])
    tf.saved_model.save(module, str(path), signatures=functions)


def save_half_plus(tf, path, offset):
    module = tf.Module()
    module.half, module.offset = tf.Variable(0.5), tf.Variable(offset)

    def half_plus(x):
        return {"y": module.half * x + module.offset}

    def picky(x):
        with tf.control_dependencies([tf.debugging.assert_less(x, 3.0, message="too much")]):
            return {"y": module.half * x}

    def slow(seconds):
        # 250 x 250 multiplications until the time is over: something that TensorFlow can cancel.
        end = tf.timestamp() + tf.cast(seconds[0], tf.float64)
        (product,) = tf.while_loop(
            lambda _: tf.timestamp() < end, lambda m: (tf.linalg.matmul(m, m),), [tf.zeros([250, 250])]
        )
        return {"y": seconds + 0 * tf.reduce_sum(product)}

    floats = [spec(tf, [None, 1], tf.float32, "x")]
    vector = [spec(tf, [None], tf.float32, "x")]
    save(
        tf,
        module,
        path,
        {
            "serving_default": (half_plus, floats),
            "picky": (picky, vector),
            "slow": (slow, [spec(tf, [None], tf.float32, "seconds")]),
        },
    )


def save_zoo(tf, path):
    """Signatures of every form: two inputs, several outputs, no batch dimension, bytes in and out, the fleet's."""

    def pair(a, b):
        return {"sum": a + tf.cast(b, tf.float32), "greater": a > tf.cast(b, tf.float32)}

    def total(x):
        return {"total": tf.reduce_sum(x)}

    def uneven(x):
        return {"all": x, "first": x[:1]}

    def pixels(pixels):
        rows = tf.reshape(tf.io.decode_raw(pixels, tf.uint8), [-1, 4])
        return {"score": tf.reduce_mean(tf.cast(rows, tf.float32), axis=1) / 255.0}

    def mixed(image_bytes, threshold):
        return {"y": tf.cast(tf.strings.length(image_bytes), tf.float32) - threshold}

    def echo(s):
        return {"text": s, "copy_bytes": s}

    floats = [spec(tf, [None], tf.float32, "x")]
    strings = [spec(tf, [None], tf.string, "s")]
    save(
        tf,
        tf.Module(),
        path,
        {
            "serving_default": (pair, [spec(tf, [None], tf.float32, "a"), spec(tf, [None], tf.int64, "b")]),
            "total": (total, floats),
            "uneven": (uneven, floats),
            "any_rank": (lambda x: {"y": x}, [spec(tf, None, tf.float32, "x")]),
            "inverse": (lambda x: {"y": 1.0 / x}, floats),
            "pixels": (pixels, [spec(tf, [None], tf.string, "pixels")]),
            "mixed": (
                mixed,
                [spec(tf, [None], tf.string, "image_bytes"), spec(tf, [None], tf.float32, "threshold")],
            ),
            "echo": (echo, strings),
            "text_only": (lambda s: {"text": s}, strings),
        },
    )


PASSING = ("float32", "float64", "int8", "uint8", "int16", "int32", "int64", "uint32", "uint64", "bool", "string")


def save_types(tf, path):
    """A signature for each element type that gives back what it got."""
    signatures = {
        name: (lambda x: {"y": tf.identity(x)}, [spec(tf, None, tf.dtypes.as_dtype(name), "x")])
        for name in (*PASSING, "float16")
    }
    signatures["to_float16"] = (lambda x: {"y": tf.cast(x, tf.float16)}, [spec(tf, None, tf.float32, "x")])
    save(tf, tf.Module(), path, signatures)


def write_warm_up(tf, path, signature, values):
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    log = PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = signature
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(values, tf.float32))
    (path / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(path / "assets.extra" / "tf_serving_warmup_requests")) as writer:
        writer.write(log.SerializeToString())


def publish(saved_model, base_path, number):
    """Put a version in place the way a publisher should: copied aside, then renamed."""
    aside = base_path / f"tmp.{number}"
    copy_tree(saved_model, aside)
    aside.rename(base_path / str(number))
    return base_path / str(number)


def copy_tree(source, target):
    import shutil

    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, target)


# --- the server ------------------------------------------------------------------------------------------------------


def free_port():
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return listener.getsockname()[1]


class Server:
    """A server process; its log goes to a file so that a full pipe never stops it."""

    def __init__(self, folder, *flags):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = folder / f"serve-{self.port}.log"
        self.command = [sys.executable, "-m", "sniffer_serve.server", f"--rest_api_port={self.port}", *flags]
        self.process = None

    @contextmanager
    def start(self):
        """The running server; it is gone at the end, whatever happened."""
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(self.command, stderr=log)
        try:
            yield self
        finally:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()

    @property
    def log(self):
        return self.log_path.read_text()

    def wait_for_line(self, text, limit_s=START_LIMIT_S):
        deadline_s = time.monotonic() + limit_s
        while text not in self.log:
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.log}"
            assert time.monotonic() < deadline_s, f"no {text!r} in:\n{self.log}"
            time.sleep(0.05)
        return self

    def wait_until_ready(self):
        return self.wait_for_line(f"Exporting HTTP/REST API at:127.0.0.1:{self.port} ...")

    def is_listening(self):
        with closing(socket.socket()) as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def post(self, path, document, **options):
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return requests.post(self.url + path, data=body, timeout=60, **options)

    def get(self, path):
        return requests.get(self.url + path, timeout=60)

    def states(self, model):
        answer = self.get(f"/v1/models/{model}")
        if answer.status_code == 404:
            return {}
        return {int(line["version"]): line["state"] for line in answer.json()["model_version_status"]}

    def half_plus(self, model, suffix=""):
        """What the model makes of 0: the offset that tells its versions apart."""
        answer = self.post(f"/v1/models/{model}{suffix}:predict", {"instances": [[0.0]]})
        return answer.json()["predictions"][0][0] if answer.ok else answer.status_code


def eventually(condition, limit_s=30.0):
    deadline_s = time.monotonic() + limit_s
    while not (result := condition()):
        assert time.monotonic() < deadline_s, "did not happen in time"
        time.sleep(0.1)
    return result


class Stage:
    """The server of this file's tests, and its config file, to which each test adds models of its own."""

    def __init__(self, folder, server, fixed):
        self.folder = folder
        self.saved_models = None
        self.server = server
        self.fixed = fixed
        self.listened_before_every_model_was_there = None

    def base_path(self, name):
        return self.folder / name

    def publish(self, saved_model, model, number):
        return publish(self.saved_models / saved_model, self.base_path(model), number)

    def configure(self, *entries):
        """Serve the fixed models and these; the file is replaced in one step."""
        aside = self.folder / "models.config.new"
        aside.write_text("model_config_list {\n" + "\n".join([*self.fixed, *entries]) + "\n}\n")
        aside.rename(self.folder / "models.config")


def entry(name, base_path, more=""):
    return f'config {{ name: "{name}" base_path: "{base_path}" model_platform: "tensorflow" {more} }}'


TWO_VERSIONS = """model_version_policy { specific { versions: 1 versions: 2 } }
    version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 }"""


@pytest.fixture(scope="session")
def stage(tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("serve")
    fixed = [
        entry("half", folder / "half", TWO_VERSIONS),
        *(entry(name, folder / name) for name in ("zoo", "types", "late")),
    ]
    server = Server(
        folder,
        f"--model_config_file={folder / 'models.config'}",
        f"--model_config_file_poll_wait_seconds={POLL_S}",
        f"--file_system_poll_wait_seconds={POLL_S}",
        "--allow_version_labels_for_unavailable_models=true",
        "--max_num_load_retries=2",
        "--load_retry_interval_micros=2000000",
        "--rest_api_timeout_in_ms=1500",
    )
    stage = Stage(folder, server, fixed)
    stage.configure()
    with server.start():
        # The server waits for its models, so it can start while they are made.
        stage.saved_models = request.getfixturevalue("saved_models")
        for model, saved_model, number in (("half", "plus_two", 1), ("half", "plus_three", 2), ("zoo", "zoo", 1)):
            stage.publish(saved_model, model, number)
        stage.publish("types", "types", "00000123")
        stage.base_path("late").mkdir()
        server.wait_for_line("model types: serving version 123")
        server.wait_for_line("model late: no version to serve")
        stage.listened_before_every_model_was_there = server.is_listening()
        stage.publish("plus_two", "late", 1)
        server.wait_until_ready()
        yield stage
        assert "Traceback" not in server.log


@pytest.fixture
def server(stage):
    return stage.server


def test_the_port_opens_only_once_every_model_is_served(stage):
    assert not stage.listened_before_every_model_was_there
    assert stage.server.half_plus("late") == 2.0


def test_only_loopback_is_listened_on(server):
    listening = subprocess.run(
        ["cat", f"/proc/{server.process.pid}/net/tcp"], check=True, capture_output=True, text=True
    )
    locals_ = [line.split()[1] for line in listening.stdout.splitlines()[1:] if line.split()[3] == "0A"]
    assert f"0100007F:{server.port:04X}" in locals_
    assert f"00000000:{server.port:04X}" not in locals_


# --- REST, case by case ----------------------------------------------------------------------------------------------


def b64(data):
    return {"b64": base64.b64encode(data).decode()}


HALF, ZOO = "/v1/models/half", "/v1/models/zoo"


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
def test_predictions(server, path, document, answer):
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
def test_errors_have_tensorflow_servings_status_and_words(server, path, document, status, error):
    response = server.post(path, document)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    assert list(response.json()) == ["error"]
    assert error in response.json()["error"]


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
def test_other_methods_and_paths(server, method, path, status, error):
    response = requests.request(method, server.url + path, timeout=60)
    assert (response.status_code, response.json()) == (status, {"error": error})


@pytest.mark.parametrize("path", ["/", "/health", "/v2/models/half", "/v1"])
def test_outside_v1_there_is_an_html_404(server, path):
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
def test_status_lists_the_newest_first_and_ignores_labels(server, path, lines):
    assert server.get(path).json() == {"model_version_status": lines}


def test_leading_zeros_of_a_version_folder_do_not_count(server):
    assert server.states("types") == {123: "AVAILABLE"}


def tensor(dtype, *sizes):
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
def test_metadata_shows_the_signatures(server, path, version, signature, inputs, outputs):
    document = server.get(path + "/metadata").json()
    name = path.split("/")[3]
    assert document["model_spec"] == {"name": name, "signature_name": "", "version": version}
    shown = document["metadata"]["signature_def"]["signature_def"][signature]
    assert shown["method_name"] == "tensorflow/serving/predict"
    assert shown["defaults"] == {}
    for side, expected in (("inputs", inputs), ("outputs", outputs)):
        assert {key: (info["dtype"], info["tensor_shape"]) for key, info in shown[side].items()} == expected


def test_bare_nan_and_infinity_go_both_ways(server):
    body = b'{"signature_name": "inverse", "instances": [NaN, Infinity, -Infinity, 0.0, -0.0]}'
    answer = server.post(ZOO + ":predict", body)
    assert "[NaN, 0.0, -0.0, Infinity, -Infinity]" in answer.text
    assert math.isnan(answer.json()["predictions"][0])


@pytest.mark.parametrize("dtype", PASSING)
def test_every_type_that_passes_rest_comes_back_the_same(server, dtype):
    values = {"float32": [0.1, -3.0], "float64": [1 / 3, 1e300], "bool": [True, False], "string": ["a", ""]}
    sent = values.get(dtype, [[1, 2], [3, 4]])
    answer = server.post("/v1/models/types:predict", {"signature_name": dtype, "instances": sent})
    assert answer.json() == {"predictions": sent}


def test_text_output_that_is_no_utf8_passes_as_it_is(server):
    answer = server.post(ZOO + ":predict", {"signature_name": "text_only", "instances": [b64(b"\xff\xfe")]})
    assert answer.status_code == 200
    assert b'"\xff\xfe"' in answer.content


@pytest.mark.parametrize(
    ("headers", "pack"),
    [
        ({"Content-Type": "application/x-www-form-urlencoded"}, bytes),
        ({"Content-Type": "text/plain"}, bytes),
        ({"Content-Encoding": "gzip"}, gzip.compress),
        ({"Expect": "100-continue"}, bytes),
    ],
)
def test_the_content_type_is_not_read_and_gzip_is_unpacked(server, headers, pack):
    answer = server.post(HALF + ":predict", pack(b'{"instances": [[1.0]]}'), headers=headers)
    assert answer.json() == {"predictions": [[3.5]]}
    assert "content-encoding" not in answer.headers


def test_a_gzip_body_that_is_none_counts_as_empty(server):
    answer = server.post(HALF + ":predict", b'{"instances": [[1.0]]}', headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["error"]) == (400, "JSON Parse error: The document is empty")


def test_a_chunked_body_and_text_after_the_object_are_fine(server):
    parts = iter([b'{"instances"', b": [[1.0]", b"]} and so on"])
    answer = requests.post(server.url + HALF + ":predict", data=parts, timeout=60)
    assert answer.json() == {"predictions": [[3.5]]}


def test_a_large_batch_of_raw_images_is_answered_in_order(server):
    images = [bytes([value]) * 4 for value in range(256)] * 400
    document = {"signature_name": "pixels", "instances": [b64(image) for image in images]}
    scores = server.post(ZOO + ":predict", document).json()["predictions"]
    assert [round(score * 255) for score in scores] == [image[0] for image in images]


def test_requests_of_one_session_keep_their_connection(server):
    with requests.Session() as session:
        for _ in range(3):
            answer = session.post(server.url + HALF + ":predict", data=b'{"instances": [[1.0]]}', timeout=60)
            assert answer.ok
            assert "close" not in answer.headers.get("connection", "")
        pools = session.get_adapter(server.url).poolmanager.pools
        opened = [pools[key].num_connections for key in pools.keys()]  # noqa: SIM118 - not a dict
    assert opened == [1]


def test_a_request_that_waits_too_long_for_its_turn_times_out(server):
    statuses = []
    slow = {"signature_name": "slow", "instances": [0.9]}
    clients = [
        threading.Thread(target=lambda: statuses.append(server.post(HALF + ":predict", slow).status_code))
        for _ in range(4)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert set(statuses) == {200, 504}


def test_a_client_that_hangs_up_in_the_middle_harms_nobody(server):
    with closing(socket.create_connection(("127.0.0.1", server.port))) as client:
        client.sendall(b"POST /v1/models/half:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{")
    assert server.half_plus("half") == 3.0


# --- versions come and go --------------------------------------------------------------------------------------------


class Hammer:
    """A client that asks all the time and keeps count of every answer."""

    def __init__(self, server, model):
        self.answers = []
        self._server, self._model = server, model
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._stop.is_set():
            self.answers.append(self._server.half_plus(self._model))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


def test_a_new_version_takes_over_without_a_failed_request_and_a_half_written_one_never_does(stage, server):
    stage.publish("plus_two", "hot", 1)
    stage.configure(entry("hot", stage.base_path("hot")))
    eventually(lambda: server.states("hot") == {1: "AVAILABLE"})
    with Hammer(server, "hot") as hammer:
        stage.publish("plus_three", "hot", 2)
        eventually(lambda: server.states("hot") == {1: "END", 2: "AVAILABLE"})
        half_written = stage.base_path("hot") / "3"
        copy_tree(stage.saved_models / "plus_two" / "variables", half_written / "variables")
        eventually(lambda: server.states("hot").get(3) == "END")
        line = server.get("/v1/models/hot/versions/3").json()["model_version_status"][0]
        assert line["status"]["error_code"] == "NOT_FOUND"
        assert str(half_written) in line["status"]["error_message"]
        assert server.half_plus("hot") == 3.0
        # Completed, it is served at the next try.
        (half_written / "saved_model.pb").write_bytes((stage.saved_models / "plus_two" / "saved_model.pb").read_bytes())
        eventually(lambda: server.states("hot") == {1: "END", 2: "END", 3: "AVAILABLE"})
        eventually(lambda: hammer.answers[-1] == 2.0)
    # Version 1, then 2, then 3, and never anything else: no error, no gap, no way back.
    changes = [
        answer for index, answer in enumerate(hammer.answers) if index == 0 or answer != hammer.answers[index - 1]
    ]
    assert changes == [2.0, 3.0, 2.0]


@pytest.mark.parametrize(
    ("saved_model", "code", "message"),
    [
        ("bad_warm_up", "INVALID_ARGUMENT", "too much"),
        ("torn_warm_up", "DATA_LOSS", "Please verify your warmup data is in TFRecord format"),
    ],
)
def test_a_version_that_fails_its_own_warm_up_is_not_served(stage, server, saved_model, code, message):
    stage.publish("plus_two", saved_model, 1)
    stage.configure(entry(saved_model, stage.base_path(saved_model)))
    eventually(lambda: server.states(saved_model) == {1: "AVAILABLE"})
    stage.publish(saved_model, saved_model, 2)
    eventually(lambda: server.states(saved_model).get(2) == "END")
    status = server.get(f"/v1/models/{saved_model}/versions/2").json()["model_version_status"][0]["status"]
    assert status["error_code"] == code
    assert message in status["error_message"]
    assert server.half_plus(saved_model) == 2.0


def test_a_version_without_its_variables_is_not_served(stage, server):
    stage.publish("plus_two", "torn", 1)
    stage.configure(entry("torn", stage.base_path("torn")))
    eventually(lambda: server.states("torn") == {1: "AVAILABLE"})
    torn = stage.base_path("torn") / "2"
    torn.mkdir()
    (torn / "saved_model.pb").write_bytes((stage.saved_models / "plus_three" / "saved_model.pb").read_bytes())
    eventually(lambda: server.states("torn").get(2) == "END")
    assert server.half_plus("torn") == 2.0


def test_warm_up_records_are_replayed(server):
    assert "and replayed 1 warm-up records" in server.log


def test_a_rollout_by_config_file_moves_the_label_once_the_version_is_loaded(stage, server):
    base_path = stage.base_path("rollout")
    stage.publish("plus_two", "rollout", 1)
    stage.publish("plus_three", "rollout", 2)

    def configure(versions, stable):
        named = " ".join(f"versions: {number}" for number in versions)
        policy = f'model_version_policy {{ specific {{ {named} }} }} version_labels {{ key: "stable" value: {stable} }}'
        stage.configure(entry("rollout", base_path, policy))

    def stable():
        return server.half_plus("rollout", "/labels/stable")

    configure([1], stable=1)
    eventually(lambda: stable() == 2.0)
    assert server.states("rollout") == {1: "AVAILABLE"}
    configure([1], stable=2)
    server.wait_for_line("Request to assign label 'stable' to version 2 of model rollout, which is not currently")
    assert stable() == 2.0
    configure([1, 2], stable=1)
    eventually(lambda: server.states("rollout") == {1: "AVAILABLE", 2: "AVAILABLE"})
    configure([1, 2], stable=2)
    eventually(lambda: stable() == 3.0)
    configure([2], stable=2)
    eventually(lambda: server.states("rollout") == {1: "END", 2: "AVAILABLE"})
    assert stable() == 3.0


def test_a_torn_config_file_changes_nothing_and_a_removed_model_goes(stage, server):
    stage.publish("plus_two", "guest", 1)
    stage.configure(entry("guest", stage.base_path("guest")))
    eventually(lambda: server.states("guest") == {1: "AVAILABLE"})
    (stage.folder / "models.config").write_text("model_config_list { config {")
    server.wait_for_line("not a ModelServerConfig in text form")
    assert server.half_plus("guest") == 2.0
    stage.configure()
    eventually(lambda: server.states("guest") == {1: "END"})
    assert server.half_plus("guest") == 404
    assert server.half_plus("half") == 3.0


# --- start and end ---------------------------------------------------------------------------------------------------


def test_sigterm_lets_requests_under_way_finish_and_ends_with_status_0(saved_models, tmp_path):
    publish(saved_models / "plus_two", tmp_path / "m", 1)
    flags = ["--model_name=m", f"--model_base_path={tmp_path / 'm'}"]
    with Server(tmp_path, *flags).start() as server, requests.Session() as idle:
        server.wait_until_ready()
        assert idle.get(server.url + "/v1/models/m", timeout=10).ok
        answers = []
        slow = {"signature_name": "slow", "instances": [2.0]}
        client = threading.Thread(target=lambda: answers.append(server.post("/v1/models/m:predict", slow)))
        client.start()
        time.sleep(0.7)
        signalled_s = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
        took_s = time.monotonic() - signalled_s
        client.join()
        assert answers[0].status_code == 200
        assert 0.5 < took_s < 10
        assert not server.is_listening()
        assert "Traceback" not in server.log


@pytest.mark.slow
def test_a_model_that_cannot_be_served_ends_the_start_in_one_line(tmp_path):
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "saved_model.pb").write_bytes(os.urandom(100))
    flags = ["--model_name=m", f"--model_base_path={tmp_path / 'm'}", "--max_num_load_retries=0"]
    with Server(tmp_path, *flags).start() as server:
        assert server.process.wait(START_LIMIT_S) == 2
        assert server.log.splitlines()[-1].startswith(
            f"sniffer serve: model m cannot be served: cannot load {tmp_path / 'm' / '1'}"
        )
        assert "Traceback" not in server.log


def test_a_port_that_is_taken_is_told_at_once(tmp_path):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        flags = [f"--model_base_path={tmp_path}", f"--rest_api_port={taken.getsockname()[1]}"]
        with Server(tmp_path, *flags).start() as server:
            assert server.process.wait(20) == 2
            assert "choose another --rest_api_port" in server.log


@pytest.mark.slow
def test_sigterm_while_waiting_for_a_first_version_ends_with_status_0(tmp_path):
    with Server(tmp_path, f"--model_base_path={tmp_path / 'none_yet'}").start() as server:
        server.wait_for_line("cannot look for versions")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(5) == 0
