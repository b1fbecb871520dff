"""A private Airflow for the whole pytest process. Imported by the conftests before anything imports Airflow."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DAGS = REPOSITORY / "dags"

# A file rather than AIRFLOW__* variables: other tests' child processes inherit our environment.
_CONFIGURATION = f"""
[core]
dags_folder = {DAGS}
plugins_folder = {REPOSITORY / "plugins"}
load_examples = False
unit_test_mode = False

[logging]
logging_level = INFO
"""


def _make_home() -> Path:
    if "airflow" in sys.modules:
        raise pytest.UsageError("airflow was imported before the tests gave it a home of its own")
    home = Path(tempfile.mkdtemp(prefix="airflow-home-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    (home / "airflow.cfg").write_text(_CONFIGURATION)
    os.environ["AIRFLOW_HOME"] = str(home)
    return home


HOME = _make_home()


@pytest.fixture(scope="session")
def airflow_database() -> Iterator[None]:
    """Airflow's metadata database, on SQLite in the private home; made once."""
    from airflow.utils.db import initdb

    if not (HOME / "airflow.db").exists():
        initdb()
    yield
