"""The model server as a process over folders of versions, and the questions that a client may ask it."""

from __future__ import annotations

import base64
import json
import shutil
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from sniffer_local.processes import answers_on, free_port
from support.programs import Program, eventually

START_LIMIT_S = 150.0
POLL_S = 1
HALF, ZOO = "/v1/models/half", "/v1/models/zoo"
"""The paths of the two models that most tests ask: half of x plus an offset, and signatures of every form."""

Document = Mapping[str, Any] | bytes
"""The body of a request: JSON, or bytes as they are."""


def b64(data: bytes) -> dict[str, str]:
    """Bytes as TensorFlow Serving takes them in JSON."""
    return {"b64": base64.b64encode(data).decode()}


class ServerProcess(Program):
    """`python -m sniffer_serve.server` on a free port."""

    def __init__(self, *flags: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__("sniffer_serve.server", f"--rest_api_port={self.port}", *flags)

    def wait_for_line(self, text: str) -> None:
        """Return once it has logged that; fails the test when it ends before, or takes too long."""

        def is_logged() -> bool:
            assert text in self.text() or self.process.poll() is None, f"ended with {self.process.returncode}"
            return text in self.text()

        try:
            eventually(is_logged, f"the line {text!r}", START_LIMIT_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; its log:\n{self.text()}") from None

    def wait_until_ready(self) -> None:
        """Return once it serves."""
        self.wait_for_line(f"Exporting HTTP/REST API at:127.0.0.1:{self.port} ...")

    def is_listening(self) -> bool:
        """Whether its port takes connections."""
        return answers_on(self.port)

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port))

    def post(self, path: str, document: Document, headers: Mapping[str, str] | None = None) -> requests.Response:
        """POST it as JSON."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return requests.post(self.url + path, data=body, headers=headers, timeout=60)

    def get(self, path: str) -> requests.Response:
        """GET it."""
        return requests.get(self.url + path, timeout=60)

    def states(self, model: str) -> dict[int, str]:
        """What it says of each version of the model; empty when it knows none."""
        answer = self.get(f"/v1/models/{model}")
        if answer.status_code == 404:
            return {}
        return {int(line["version"]): line["state"] for line in answer.json()["model_version_status"]}

    def comes_to(self, model: str, states: dict[int, str]) -> None:
        """Return once the model's versions are in these states."""
        try:
            eventually(lambda: self.states(model) == states, f"{model} is {states}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.states(model)}") from None

    def half_plus(self, model: str, suffix: str = "") -> float:
        """What the model makes of 0: the offset that tells its versions apart; or the status of a refusal."""
        answer = self.post(f"/v1/models/{model}{suffix}:predict", {"instances": [[0.0]]})
        return float(answer.json()["predictions"][0][0]) if answer.ok else answer.status_code


@dataclass
class ServedFolders:
    """A server, the folders of its models, and its config file, to which each test adds models of its own."""

    folder: Path
    saved_models: Path
    server: ServerProcess
    fixed: tuple[str, ...]
    """Entries of the config file that stay."""
    listened_before_every_model_was_there: bool = True

    def base_path(self, model: str) -> Path:
        """Where the versions of a model are."""
        return self.folder / model

    def publish(self, saved_model: str, model: str, number: int | str) -> None:
        """Put a version in place."""
        publish_version(self.saved_models / saved_model, self.base_path(model), number)

    def configure(self, *entries: str) -> None:
        """Serve the fixed models and these."""
        write_config(self.folder / "models.config", [*self.fixed, *entries])


def publish_version(saved_model: Path, base_path: Path, number: int | str) -> None:
    """Put a version in place the way a publisher should: copied aside, then renamed."""
    aside = base_path / f"tmp.{number}"
    base_path.mkdir(parents=True, exist_ok=True)
    shutil.copytree(saved_model, aside)
    aside.rename(base_path / str(number))


def write_config(file: Path, entries: Iterable[str]) -> None:
    """Replace the config file in one step."""
    aside = file.with_suffix(".new")
    aside.write_text("model_config_list {\n" + "\n".join(entries) + "\n}\n")
    aside.rename(file)


def config_entry(name: str, base_path: Path, more: str = "") -> str:
    """A model in a config file."""
    return f'config {{ name: "{name}" base_path: "{base_path}" model_platform: "tensorflow" {more} }}'
