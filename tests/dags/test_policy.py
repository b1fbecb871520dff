"""What every DAG of ours keeps to, and what parsing one may cost."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag

DAGS = Path(__file__).parents[2] / "dags"

TOO_HEAVY = {"tensorflow", "keras", "numpy", "boto3", "botocore", "sqlalchemy", "zmq", "PIL", "kubernetes", "obstore"}


@pytest.fixture(scope="module")
def bag(airflow_database: None) -> DagBag:
    return DagBag(DAGS)


def test_every_dag_file_is_imported_and_named_for_its_dag(bag: DagBag) -> None:
    assert bag.import_errors == {}
    assert set(bag.dags) == {path.stem for path in DAGS.glob("*.py")}
    assert "scan_bucket" in bag.dags


def test_every_dag_has_an_owner_a_runbook_tags_and_no_catch_up(bag: DagBag) -> None:
    for dag in bag.dags.values():
        assert dag.doc_md and len(dag.doc_md) > 500, dag.dag_id
        assert "sniffer" in dag.tags, dag.dag_id
        assert not dag.catchup, dag.dag_id
        assert {task.owner for task in dag.tasks} == {"trust-and-safety"}, dag.dag_id


def test_every_task_is_retried_with_pauses_that_grow(bag: DagBag) -> None:
    for dag in bag.dags.values():
        for task in dag.tasks:
            assert task.retries is not None and 1 <= task.retries <= 5, f"{dag.dag_id}.{task.task_id}"
            assert task.retry_delay >= timedelta(seconds=30), f"{dag.dag_id}.{task.task_id}"
            # A factor: True would count as 1, which is no back-off.
            assert task.retry_exponential_backoff > 1, f"{dag.dag_id}.{task.task_id}"


def test_every_field_of_every_form_is_explained(bag: DagBag) -> None:
    for dag in bag.dags.values():
        for name in dag.params:
            param: Any = dag.params.get_param(name)
            assert param.description and param.schema.get("title"), f"{dag.dag_id}.{name}"
            assert param.schema.get("section") and param.schema.get("type"), f"{dag.dag_id}.{name}"


def test_parsing_a_dag_file_loads_nothing_heavy() -> None:
    code = (
        "import airflow.sdk, json, runpy, sys; before = set(sys.modules); "
        "[runpy.run_path(path) for path in sys.argv[1:]]; "
        "print(json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))"
    )
    command = [sys.executable, "-c", code, *map(str, DAGS.glob("*.py"))]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "sniffer_airflow" in loaded
    assert not TOO_HEAVY & loaded
