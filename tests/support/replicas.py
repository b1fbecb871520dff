"""Model servers as replicas: real processes, each with a config file of its own, and what a test needs around them."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.serving import ModelServer
from sniffer.core.model_records import MODEL_NAME, ModelStatus
from sniffer.core.settings import DatabaseSettings, ServingSettings
from sniffer_local.processes import Child, Service, answers_on, free_port
from sniffer_rollout import __main__ as rollout
from sniffer_rollout.aspired import CONFIG_FILE
from support.programs import eventually
from support.published import publish_kind

EMPTY_CONFIG = "model_config_list {}\n"
QUICK_SERVER = Path(__file__).with_name("quick_server.py")
KILLED = str(Path(__file__).with_name("killed_rollout.py"))
"""A rollout that kills itself, see there."""
CONFIG_POLL_S = 0.2
"""Of quick_server.py."""


class Replica(Child):
    """The project's model server over a config file that it reads again several times a second."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self.config = folder / CONFIG_FILE
        folder.mkdir(parents=True)
        self.config.write_text(EMPTY_CONFIG)
        command = (
            sys.executable,
            str(QUICK_SERVER),
            f"--model_config_file={self.config}",
            f"--rest_api_port={self.port}",
            "--max_num_load_retries=0",
            "--allow_version_labels_for_unavailable_models=true",
        )
        super().__init__(Service("replica", command, folder / "serve.log", lambda: answers_on(self.port)))

    def reset(self) -> None:
        """Running, with a config file of its own that names nothing, and nothing loaded."""
        self.config.unlink(missing_ok=True)
        self.config.write_text(EMPTY_CONFIG)
        self.start()
        eventually(lambda: not self.available(), "everything is unloaded")
        if self._has_failures():
            # A version that failed is tried again only once a poll has found it gone from the config.
            time.sleep(2 * CONFIG_POLL_S)

    def available(self) -> list[int]:
        """The versions that it serves, ascending."""
        with self._server() as server:
            return sorted(state.version for state in server.version_states() if state.is_available)

    def label(self, name: str) -> int | None:
        """The version that the label stands for."""
        with self._server() as server:
            return server.labelled_version(name)

    def score(self, version: int, pixels: bytes) -> float:
        """What a scan that is pinned to the version gets."""
        with self._server() as server:
            return server.predict(version, [pixels])[0]

    def _has_failures(self) -> bool:
        with self._server() as server:
            return any(state.has_failed for state in server.version_states())

    def _server(self) -> ModelServer:
        return ModelServer(ServingSettings(f"{self.url}/v1/models/{MODEL_NAME}", patience_s=10.0))


@dataclass
class Site:
    """A target with its model servers, a model base and a database; runs steps and looks at what they left."""

    replicas: list[Replica]
    target: str
    kinds: Path
    base: Path
    database_url: str
    report: Path
    model_base: str = ""

    def publish(
        self,
        version: int,
        kind: str = "good",
        *,
        status: ModelStatus | None = None,
        golden_gain: float | None = None,
        threshold: float = 0.5,
    ) -> None:
        """Publish and register a version; `status` promotes it to there in the database."""
        record = publish_kind(self.kinds, kind, self.base, version, golden_gain=golden_gain, threshold=threshold)
        with self.database() as database:
            database.models.register(record)
            if status is ModelStatus.STABLE:
                database.models.promote(version)

    def database(self) -> Database:
        return Database(DatabaseSettings(self.database_url, patience_s=30))

    def step(self, step: str, *flags: str, status: int = 0) -> dict[str, Any]:
        """Run one step as the program does, expect that exit status, and return its report."""
        assert rollout.main([*self.argv(step), *flags]) == status, self.report.read_text()
        found: dict[str, Any] = json.loads(self.report.read_text())
        return found

    def argv(self, step: str) -> list[str]:
        base = self.model_base or str(self.base)
        return [step, f"--target={self.target}", f"--model-base-path={base}", f"--result={self.report}"]

    def statuses(self) -> dict[int, str]:
        """What `models` says."""
        with self.database() as database:
            return {model.version: str(model.status) for model in database.models.of_status(*ModelStatus)}

    def served(self) -> list[tuple[list[int], int | None, int | None]]:
        """Of each replica: what is loaded, and what `stable` and `canary` stand for."""
        return [(r.available(), r.label("stable"), r.label("canary")) for r in self.replicas]

    def eventually_served(self, versions: list[int], stable: int | None, canary: int | None = None) -> None:
        """Every replica comes to serve that; unloading takes a moment longer than labels."""
        wanted = [(versions, stable, canary)] * len(self.replicas)
        try:
            eventually(lambda: self.served() == wanted, f"{wanted}", 20)
        except AssertionError as error:
            pytest.fail(f"{error}; it is {self.served()}")
