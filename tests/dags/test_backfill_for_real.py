"""The DAG of a whole bucket with the real programs: against moto's S3, MariaDB and a real model server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.airflow_people import Person, meanwhile
from support.dag_runs import DAGS, connection_of
from support.fleet import ModelServerProcess, jpeg
from support.saved_models import save_mean_of_red
from support.scratch_bucket import ScratchBucket
from support.stored_rows import rows

from sniffer.adapters.images import PREPROCESSING_VERSION
from sniffer.adapters.mysql.database import Database
from sniffer.core.model_records import ModelRecord, ModelStatus

pytestmark = pytest.mark.slow  # three runs of some ten processes each, of which four scan

DAG = "backfill_bucket"
NOW = datetime(2026, 11, 26, 9, tzinfo=UTC)


@pytest.fixture
def model_server(tmp_path: Path) -> Iterator[ModelServerProcess]:
    save_mean_of_red(tmp_path / "drug_detector" / "1")
    server = ModelServerProcess(tmp_path / "drug_detector", tmp_path / "serve.log")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def run(
    airflow_database: None,
    bucket: ScratchBucket,
    database: Database,
    database_url: str,
    model_server: ModelServerProcess,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., dict[str, Any]]:
    """Run the DAG of the bucket; the states of its tasks, and the XCom of those that have one."""
    from airflow.dag_processing.dagbag import DagBag

    database.models.register(ModelRecord(1, "d" * 64, "b" * 64, PREPROCESSING_VERSION, 0.5, ModelStatus.BLESSED))
    database.models.promote(1)
    serving = urlsplit(model_server.url)
    monkeypatch.setenv("AIRFLOW_CONN_SNIFFER_SERVING", f"http://{serving.netloc}")
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", connection_of(database_url))
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_RATES", json.dumps({"as_of": "2026-11-01", "gpus": 0}))

    def run(minutes: int, **form: Any) -> dict[str, Any]:
        at = NOW + timedelta(minutes=minutes)
        dag = DagBag(DAGS).dags[DAG]  # anew: a run leaves its form's values in the DAG's params
        dag_run = dag.test(
            logical_date=at, run_after=at, run_conf={"bucket": bucket.name, "shards": 2, "consumers": 1, **form}
        )
        tasks = dag_run.get_task_instances()
        names = ("estimate", "approve", "certify")
        found = {name: dag_run.get_task_instance(name).xcom_pull(task_ids=name) for name in names}
        return {"run": str(dag_run.state), **found} | {f"{one.task_id} is": str(one.state) for one in tasks}

    return run


def test_it_is_estimated_approved_scanned_and_certified_and_stops_once_it_has_grown(
    run: Callable[..., dict[str, Any]], bucket: ScratchBucket, database_url: str
) -> None:
    for number in range(6):
        bucket.put(f"20{19 + number % 2}/{number}.jpg", jpeg(number))
    bucket.put("2021/copy.jpg", jpeg(1))
    archived = {"Key": "2018/old.jpg", "Body": jpeg(50), "StorageClass": "DEEP_ARCHIVE"}
    bucket.client.put_object(Bucket=bucket.name, **archived)
    ben = Person("ben")

    def approve() -> None:
        question = ben.question(DAG)
        assert "| new | 7 are fetched" in question["body"] and "1 DEEP\\_ARCHIVE" in question["body"]
        assert "as of 2026-11-01" in question["body"]
        ben.answer(question, "Approve", "ticket 812")

    with meanwhile(approve):
        first = run(0, order="newest")
    assert first["run"] == "success"
    told = {name: first["certify"][name] for name in ("listed", "predicted", "reused", "inaccessible", "codes")}
    assert told.pop("codes") == {"archived": 1}
    assert told["listed"] == 8 and told["predicted"] + told["reused"] == 7 and told["inaccessible"] == 1
    assert rows(database_url, "SELECT approved_by FROM estimates") == [("ben",)]

    # Another run pays for what is new only, and within the limits nobody is asked.
    bucket.put("2021/new.jpg", jpeg(60))
    second = run(1, most_images=1)
    assert second["run"] == "success" and second["approve"]["approved_by"] is None
    assert (second["estimate"]["unchanged"], second["estimate"]["get_requests"]) == (7, 1)
    assert second["certify"]["predicted"] == 1 and second["certify"]["unchanged"] == 7

    def approve_too_late() -> None:
        question = ben.question(DAG)
        for number in range(70, 73):
            bucket.put(f"2022/{number}.jpg", jpeg(number))
        ben.answer(question, "Approve", "ticket 813")

    before = rows(database_url, "SELECT COUNT(*) FROM predictions")
    with meanwhile(approve_too_late):
        third = run(2, growth=0.2)
    assert (third["approve is"], third["shards is"], third["scan is"]) == ("success", "failed", "upstream_failed")
    assert third["run"] == "failed" and rows(database_url, "SELECT COUNT(*) FROM predictions") == before
