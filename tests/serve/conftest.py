"""Fixtures of the model server: SavedModels, and one server over them, since each start takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.model_server import POLL_S, ServedFolders, ServerProcess, config_entry, write_config
from support.served_models import save_served_models
from support.shared import made_once

_TWO_VERSIONS = """model_version_policy { specific { versions: 1 versions: 2 } }
    version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 }"""


@pytest.fixture(scope="session")
def saved_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of SavedModels by name. Not to be written to."""
    return made_once(tmp_path_factory, "served-models", save_served_models)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[ServedFolders]:
    """The session's server and its folders."""
    folder = tmp_path_factory.mktemp("serve")
    fixed = (
        config_entry("half", folder / "half", _TWO_VERSIONS),
        *(config_entry(name, folder / name) for name in ("zoo", "types", "late")),
    )
    write_config(folder / "models.config", fixed)
    with ServerProcess(
        f"--model_config_file={folder / 'models.config'}",
        f"--model_config_file_poll_wait_seconds={POLL_S}",
        f"--file_system_poll_wait_seconds={POLL_S}",
        "--allow_version_labels_for_unavailable_models=true",
        "--max_num_load_retries=60",
        "--load_retry_interval_micros=1000000",
        "--rest_api_timeout_in_ms=1500",
    ) as server:
        # The server waits for its models, so it can start while they are made.
        served = ServedFolders(folder, request.getfixturevalue("saved_models"), server, fixed)
        for model, saved_model, number in (("half", "plus_two", 1), ("half", "plus_three", 2), ("zoo", "zoo", 1)):
            served.publish(saved_model, model, number)
        served.publish("types", "types", "00000123")
        served.base_path("late").mkdir()
        server.wait_for_line("model types: serving version 123")
        server.wait_for_line("model late: no version to serve")
        served.listened_before_every_model_was_there = server.is_listening()
        served.publish("plus_two", "late", 1)
        server.wait_until_ready()
        yield served
        assert "Traceback" not in server.text()


@pytest.fixture
def server(served: ServedFolders) -> ServerProcess:
    """The session's server."""
    return served.server
