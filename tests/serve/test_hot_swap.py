"""Versions come and go while clients ask: no gap, no half-written version, labels only to what is loaded."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from typing import Self

import pytest
from support.model_server import ServedFolders, ServerProcess, config_entry
from support.programs import eventually


class Hammer:
    """A client that asks all the time and keeps count of every answer."""

    def __init__(self, server: ServerProcess, model: str) -> None:
        self.answers: list[float] = []
        self._server, self._model = server, model
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.answers.append(self._server.half_plus(self._model))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def test_a_new_version_takes_over_without_a_failed_request_and_a_half_written_one_never_does(
    served: ServedFolders, server: ServerProcess
) -> None:
    served.publish("plus_two", "hot", 1)
    served.configure(config_entry("hot", served.base_path("hot")))
    server.comes_to("hot", {1: "AVAILABLE"})
    with Hammer(server, "hot") as hammer:
        served.publish("plus_three", "hot", 2)
        server.comes_to("hot", {1: "END", 2: "AVAILABLE"})
        half_written = served.base_path("hot") / "3"
        shutil.copytree(served.saved_models / "plus_two" / "variables", half_written / "variables")
        eventually(lambda: server.states("hot").get(3) == "END", "version 3 is given up")
        line = server.get("/v1/models/hot/versions/3").json()["model_version_status"][0]
        assert line["status"]["error_code"] == "NOT_FOUND"
        assert str(half_written) in line["status"]["error_message"]
        assert server.half_plus("hot") == 3.0
        # Completed, it is served at the next try.
        (half_written / "saved_model.pb").write_bytes(
            (served.saved_models / "plus_two" / "saved_model.pb").read_bytes()
        )
        server.comes_to("hot", {1: "END", 2: "END", 3: "AVAILABLE"})
        eventually(lambda: hammer.answers[-1] == 2.0, "the completed version answers")
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
def test_a_version_that_fails_its_own_warm_up_is_not_served(
    served: ServedFolders, server: ServerProcess, saved_model: str, code: str, message: str
) -> None:
    served.publish("plus_two", saved_model, 1)
    served.configure(config_entry(saved_model, served.base_path(saved_model)))
    server.comes_to(saved_model, {1: "AVAILABLE"})
    served.publish(saved_model, saved_model, 2)
    eventually(lambda: server.states(saved_model).get(2) == "END", "version 2 is given up")
    status = server.get(f"/v1/models/{saved_model}/versions/2").json()["model_version_status"][0]["status"]
    assert status["error_code"] == code
    assert message in status["error_message"]
    assert server.half_plus(saved_model) == 2.0


def test_a_version_without_its_variables_is_not_served(served: ServedFolders, server: ServerProcess) -> None:
    served.publish("plus_two", "torn", 1)
    served.configure(config_entry("torn", served.base_path("torn")))
    server.comes_to("torn", {1: "AVAILABLE"})
    torn = served.base_path("torn") / "2"
    torn.mkdir()
    (torn / "saved_model.pb").write_bytes((served.saved_models / "plus_three" / "saved_model.pb").read_bytes())
    eventually(lambda: server.states("torn").get(2) == "END", "version 2 is given up")
    assert server.half_plus("torn") == 2.0


def test_warm_up_records_are_replayed(server: ServerProcess) -> None:
    assert "and replayed 1 warm-up records" in server.text()


def test_a_rollout_by_config_file_moves_the_label_once_the_version_is_loaded(
    served: ServedFolders, server: ServerProcess
) -> None:
    base_path = served.base_path("rollout")
    served.publish("plus_two", "rollout", 1)
    served.publish("plus_three", "rollout", 2)

    def configure(versions: Sequence[int], stable: int) -> None:
        named = " ".join(f"versions: {number}" for number in versions)
        policy = f'model_version_policy {{ specific {{ {named} }} }} version_labels {{ key: "stable" value: {stable} }}'
        served.configure(config_entry("rollout", base_path, policy))

    def stable() -> float:
        return server.half_plus("rollout", "/labels/stable")

    configure([1], stable=1)
    eventually(lambda: stable() == 2.0, "the label stands for the version that adds 2.0")
    assert server.states("rollout") == {1: "AVAILABLE"}
    configure([1], stable=2)
    server.wait_for_line("Request to assign label 'stable' to version 2 of model rollout, which is not currently")
    assert stable() == 2.0
    configure([1, 2], stable=1)
    server.comes_to("rollout", {1: "AVAILABLE", 2: "AVAILABLE"})
    configure([1, 2], stable=2)
    eventually(lambda: stable() == 3.0, "the label stands for the version that adds 3.0")
    configure([2], stable=2)
    server.comes_to("rollout", {1: "END", 2: "AVAILABLE"})
    assert stable() == 3.0


def test_a_torn_config_file_changes_nothing_and_a_removed_model_goes(
    served: ServedFolders, server: ServerProcess
) -> None:
    served.publish("plus_two", "guest", 1)
    served.configure(config_entry("guest", served.base_path("guest")))
    server.comes_to("guest", {1: "AVAILABLE"})
    (served.folder / "models.config").write_text("model_config_list { config {")
    server.wait_for_line("not a ModelServerConfig in text form")
    assert server.half_plus("guest") == 2.0
    served.configure()
    server.comes_to("guest", {1: "END"})
    assert server.half_plus("guest") == 404
    assert server.half_plus("half") == 3.0
