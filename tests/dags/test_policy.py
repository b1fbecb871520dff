"""What every DAG of ours keeps to, and what parsing one may cost."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from airflow.dag_processing.dagbag import DagBag

DAGS = Path(__file__).parents[2] / "dags"

TOO_HEAVY = {"tensorflow", "keras", "numpy", "boto3", "botocore", "sqlalchemy", "zmq", "PIL", "kubernetes"}


@pytest.fixture(scope="module")
def bag(airflow_database: None) -> DagBag:
    return DagBag(DAGS)


def test_every_dag_file_is_imported_and_named_for_its_dag(bag: DagBag) -> None:
    assert bag.import_errors == {}
    # Without a table of sources there is no DAG of one, and none is wrong.
    assert set(bag.dags) == {path.stem for path in DAGS.glob("*.py")} - {"scan_sources", "wrong_sources"}
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
            if task.task_id in ("approve", "decide_held"):
                continue  # asked again at once after an answer of somebody who may not give it
            assert task.retries is not None and 1 <= task.retries <= 5, f"{dag.dag_id}.{task.task_id}"
            assert task.retry_delay >= timedelta(seconds=30), f"{dag.dag_id}.{task.task_id}"
            # A factor: True would count as 1, which is no back-off.
            assert task.retry_exponential_backoff > 1, f"{dag.dag_id}.{task.task_id}"


def test_every_field_of_every_form_is_explained(bag: DagBag) -> None:
    for dag in bag.dags.values():
        for name in dag.params:
            param: Any = dag.params.get_param(name)
            assert param.schema.get("description_md") and param.schema.get("title"), f"{dag.dag_id}.{name}"
            assert param.schema.get("type"), f"{dag.dag_id}.{name}"
            # Airflow sets code in boxes that cover the lines above and below.
            assert "`" not in param.schema["description_md"], f"{dag.dag_id}.{name}"
            # It shows Markdown only where there is no plain description.
            assert param.description is None, f"{dag.dag_id}.{name}"


def test_the_fields_that_matter_are_seen_without_opening_a_section(bag: DagBag) -> None:
    shown = {
        dag_id: {name for name in dag.params if "section" not in cast("Any", dag.params.get_param(name)).schema}
        for dag_id, dag in bag.dags.items()
        if dag.params
    }
    assert {"bucket", "prefix", "since", "until", "dry_run"} <= shown["scan_bucket"]
    assert {"bucket", "prefix", "most_cost", "growth", "night_from"} <= shown["backfill_bucket"]
    assert {"source", "capacity", "target_precision"} <= shown["retrain_model"]
    assert {"action", "version", "approval"} <= shown["rollout_serving"]
    assert all(shown.values())


def test_no_form_changes_what_was_typed(bag: DagBag) -> None:
    """Airflow's form reads these at the top of a field's schema, and then clamps a number or cuts a text silently."""
    for dag in bag.dags.values():
        for name in dag.params:
            schema = cast("Any", dag.params.get_param(name)).schema
            assert not {"minimum", "maximum", "maxLength"} & set(schema), f"{dag.dag_id}.{name}"


def test_every_dag_says_in_words_what_it_does_and_when(bag: DagBag) -> None:
    for dag in bag.dags.values():
        assert dag.description and 40 <= len(dag.description) <= 200, dag.dag_id
        assert re.search(r"[Ee]very|[Ww]hen", dag.description), dag.dag_id


def test_the_docs_fit_a_narrow_window(bag: DagBag) -> None:
    for dag in bag.dags.values():
        lines = (dag.doc_md or "").splitlines()
        assert not [line for line in lines if line.startswith("|")], f"{dag.dag_id}: a table"
        too_wide = [line for line in lines if line.startswith("    ") and len(line) > 76]
        assert not too_wide, f"{dag.dag_id}: {too_wide}"


def test_no_edge_of_a_graph_is_there_for_data_alone(bag: DagBag) -> None:
    """A result is read by its task's name: an argument that is a task's output would draw an edge of its own."""
    edges = {
        dag_id: {(task.task_id, below) for task in dag.tasks for below in task.downstream_task_ids}
        for dag_id, dag in bag.dags.items()
    }
    assert edges["scan_bucket"] == set(
        itertools.chain(
            itertools.pairwise(("plan", "shards", "scan", "certify")),
            itertools.pairwise(("shards", "scan_backfill", "certify")),
            itertools.product(("scan", "scan_backfill"), ("decide_held",)),
        )
    )
    assert edges["backfill_bucket"] == {
        *itertools.pairwise(("plan", "cut", "estimate", "approve", "shards", "scan", "certify")),
        ("scan", "decide_held"),
    }
    for dag_id in ("watch_labels", "retrain_model", "export_model"):
        assert len(edges[dag_id]) == len(bag.dags[dag_id].tasks) - 1, dag_id
    steps = ["choose", "tidy_up", "preflight", "load", "verify", "review", "approve", "promote"]
    assert edges["rollout_serving"] == {
        ("plan", "choose"),
        ("choose", "rollback"),
        *itertools.pairwise(steps),
        *itertools.product(("promote", "rollback"), ("announce", "restore")),
    }


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
