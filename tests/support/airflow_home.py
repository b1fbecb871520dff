"""A private Airflow for the whole pytest process. Imported by the conftests before anything imports Airflow."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

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
    # As its scheduler would make it, which tests do not start.
    os.environ["AIRFLOW_VAR_SNIFFER_AIRFLOW_ID"] = "of-the-tests"
    return home


def _check_schemas_once() -> None:
    # Airflow checks each field's schema each time it reads the field: a fifth of the CPU of a run of a DAG.
    check, checked = Draft202012Validator.check_schema, set[str]()

    def check_once(schema: Any, *args: Any, **kwargs: Any) -> None:
        text = json.dumps(schema, sort_keys=True, default=repr)
        if text not in checked:
            check(schema, *args, **kwargs)
            checked.add(text)

    Draft202012Validator.check_schema = check_once


HOME = _make_home()
_check_schemas_once()


@pytest.fixture(scope="session")
def airflow_database() -> Iterator[None]:
    """Airflow's metadata database, on SQLite in the private home; made once."""
    from airflow.utils.db import initdb

    if not (HOME / "airflow.db").exists():
        initdb()
    yield
