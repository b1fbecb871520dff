"""Fixtures of the fleet: a migrated database with a stable model, a real model server, an empty bucket."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.fleet import Fleet, ModelServerProcess
from support.saved_models import save_mean_of_red
from support.scratch_bucket import ScratchBucket
from support.shared import made_once

from sniffer.adapters.images import PREPROCESSING_VERSION
from sniffer.adapters.mysql.database import Database
from sniffer.core.model_records import ModelRecord, ModelStatus

# A whole Airflow over PostgreSQL, which `pip install .[fleet]` does not bring.
collect_ignore = [] if find_spec("psycopg2") else ["scan/test_killed_airflow.py", "scan/test_killed_whole_scan.py"]


@pytest.fixture(scope="session")
def model_server_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServerProcess]:
    """The session's model server. Ask for `model_server`, which sees to it that it runs."""
    if find_spec("tensorflow") is None:
        pytest.skip("the model server needs TensorFlow, which `pip install .[fleet]` does not bring")
    base = made_once(tmp_path_factory, "mean-of-red", lambda base: save_mean_of_red(base / "1"))
    server = ModelServerProcess(base, tmp_path_factory.mktemp("serving") / "serve.log")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def model_server(model_server_process: ModelServerProcess) -> ModelServerProcess:
    """The session's model server, running at the test's start whatever an earlier test did to it."""
    model_server_process.start()
    return model_server_process


@pytest.fixture
def fleet(
    bucket: ScratchBucket, database: Database, database_url: str, model_server: ModelServerProcess, tmp_path: Path
) -> Fleet:
    """An empty bucket, an empty migrated database with stable model 1, and settings for quick failures."""
    database.models.register(ModelRecord(1, "d" * 64, "b" * 64, PREPROCESSING_VERSION, 0.5, ModelStatus.BLESSED))
    database.models.promote(1)
    environ = {
        "SNIFFER_DATABASE_URL": database_url,
        "SNIFFER_SERVING_URL": model_server.url,
        "SNIFFER_BATCH_SIZE": "4",
        "SNIFFER_BEAT_S": "0.2",
        "SNIFFER_CONSUMER_DEADLINE_S": "2",
        "SNIFFER_PRODUCER_DEADLINE_S": "10",
        "SNIFFER_NO_CONSUMER_S": "60",
        "SNIFFER_LEASE_S": "2",
    }
    return Fleet(bucket, database_url, environ, tmp_path)
