"""The scan's DAG, run for real but for the fleet: a program that takes the same flags stands in for it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import ParamValidationError
from support.dag_runs import connection_of, events, without_deadline
from support.ended_scans import certificate_of

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import ContractError, IncompleteScan
from sniffer.core.model_records import ModelRecord, ModelStatus
from sniffer.core.records import Certificate, Outcome, ScanRequest
from sniffer.core.settings import DatabaseSettings
from sniffer_airflow.names import name_of_run
from sniffer_airflow.scan.certify import asset_extra, judge, log_in_words
from sniffer_airflow.scan.form import scan_params
from sniffer_airflow.scan.plan import scan_id_of
from sniffer_airflow.training.form import retrain_params

DAGS = Path(__file__).parents[2] / "dags"
NOW = datetime(2026, 11, 22, 13, 30, tzinfo=UTC)
STATES = {
    "plan": "success",
    "shards": "success",
    "scan": "success",
    "scan_backfill": "skipped",
    "decide_held": "skipped",
}

CERTIFICATE = certificate_of(
    dict.fromkeys(Outcome, 1),
    bucket="pics",
    until=NOW,
    flagged=1,
    model_version=7,
    model_digest="a" * 64,
    codes={"fetch": 1},
    warnings=("1 of 8 images are gone",),
)


@pytest.fixture
def dag(airflow_database: None) -> Any:
    """Parsed anew, as for every task: a run leaves its form's values in the DAG's params."""
    return DagBag(DAGS).dags["scan_bucket"]


@pytest.fixture
def run(dag: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Run the DAG; returns the states and the results of its tasks."""
    mysql = {"conn_type": "mysql", "host": "127.0.0.1", "port": 1, "login": "u", "password": "secret-1", "schema": "s"}
    monkeypatch.setenv("AIRFLOW_CONN_SNIFFER_SERVING", "http://127.0.0.1:8501")
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", json.dumps(mysql))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "programs"))

    def run(logical_date: datetime | None, **form: Any) -> dict[str, Any]:
        dag_run = without_deadline(dag).test(logical_date=logical_date, run_after=logical_date, run_conf=form)
        states = {task.task_id: str(task.state) for task in dag_run.get_task_instances()}
        results = {
            task.task_id: task.xcom_pull(task_ids=task.task_id, map_indexes=task.map_index)
            for task in dag_run.get_task_instances()
        }
        return {"run": str(dag_run.state), "run_id": dag_run.run_id, "states": states, "results": results}

    return run


def test_a_dry_run_shows_the_estimate_and_certifies_nothing(run: Callable[..., dict[str, Any]]) -> None:
    ended = run(NOW, bucket="s3://pics/uploads/{{ ds }}/", consumers=2, dry_run=True)
    assert ended["run"] == "success"
    assert ended["states"] == {**STATES, "certify": "skipped"}
    scan_id = scan_id_of(name_of_run("scan_bucket", ended["run_id"]), "pics", "uploads/2026-11-22/")
    assert ended["results"]["scan"] == {
        "bucket": "pics",
        "prefix": "uploads/2026-11-22/",
        "since": None,
        "until": None,
        "late_before": None,
        "late_prefix": [],
        "model_version": "stable",
        "consumers": "2",
        "limit": None,
        "include": [],
        "exclude": [],
        "allow_empty": False,
        "rescan": False,
        "retry_failed": False,
        "dry_run": True,
        "flood_band": None,
        "flood_source": "uploads/{{ ds }}/",
        "scan_id": scan_id,
        "dag_run": f"scan_bucket/{ended['run_id']}",
        "database": "mysql+mysqldb://u:secret-1@127.0.0.1:1/s?charset=utf8mb4",
    }


def test_a_manual_run_without_logical_date_takes_the_target_of_the_variables(
    run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_BUCKET", "nightly")
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_PREFIX", "logos/")
    ended = run(None, dry_run=True)
    assert ended["run"] == "success"
    assert (ended["results"]["scan"]["bucket"], ended["results"]["scan"]["prefix"]) == ("nightly", "logos/")


def test_a_certificate_that_holds_is_read_from_mysql_and_told_by_the_asset(
    run: Callable[..., dict[str, Any]], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logical_date = NOW + timedelta(minutes=1)
    scan_id = scan_id_of(name_of_run("scan_bucket", f"manual__{logical_date.isoformat()}"), "pics", "")
    store_certificate(database_url, dataclasses.replace(CERTIFICATE, scan_id=scan_id))
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", connection_of(database_url))
    ended = run(logical_date, bucket="pics")
    assert ended["states"] == {**STATES, "certify": "success"}
    extras = events("scanned_images")[-1:]  # other DAGs tell of theirs by the same asset
    assert extras == [ended["results"]["certify"]]
    assert extras[0]["scan_id"] == scan_id
    assert {name: extras[0][name] for name in ("listed", "predicted", "failed", "flagged")} == {
        "listed": 8,
        "predicted": 1,
        "failed": 1,
        "flagged": 1,
    }


def test_a_scan_without_certificate_fails_the_run(
    run: Callable[..., dict[str, Any]], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_certificate(database_url, CERTIFICATE)  # that of another scan
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", connection_of(database_url))
    ended = run(NOW + timedelta(minutes=2), bucket="pics")
    assert ended["run"] == "failed"
    assert ended["states"] == {**STATES, "certify": "failed"}


def test_wrong_settings_fail_the_scan_and_certify_does_not_run(run: Callable[..., dict[str, Any]]) -> None:
    ended = run(NOW + timedelta(minutes=3), bucket="without-permission")
    assert ended["states"] == {**STATES, "scan": "failed", "certify": "upstream_failed", "decide_held": "failed"}


def test_each_shard_is_a_task_of_its_own_that_goes_on_until_nothing_is_left(
    dag: Any,
    run: Callable[..., dict[str, Any]],
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A shard that ends early is started again, which is no retry."""
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", connection_of(database_url))
    monkeypatch.setenv("STAND_IN_REST", str(tmp_path / "rest"))
    at = NOW + timedelta(minutes=5)
    # What uploaders choose, and what looks like a template, is never rendered.
    ended = run(at, bucket="pics", shards=3, include=["{{ 6 * 7 }}"], consumers=2)
    assert ended["states"] == {**STATES, "certify": "failed"}  # nobody has scanned anything
    tasks = [task for task in _tasks_of(dag, ended["run_id"]) if task.task_id == "scan"]
    assert sorted((task.map_index, task.rendered_map_index) for task in tasks) == [
        (0, "1 of 3"),
        (1, "2 of 3"),
        (2, "3 of 3"),
    ]
    found = [task.xcom_pull(task_ids="scan", map_indexes=task.map_index) for task in tasks]
    assert {(each["dag_run"], each["consumers"], *each["include"]) for each in found} == {
        (f"shard {number}", "2", "{{ 6 * 7 }}") for number in (1, 2, 3)
    }
    assert {task.try_number for task in tasks} == {1}
    assert sorted((tmp_path / "rest").read_text().split()) == ["1", "2", "3"]


def _tasks_of(dag: Any, run_id: str) -> list[Any]:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    with create_session() as session:
        query = session.query(TaskInstance).where(TaskInstance.dag_id == dag.dag_id, TaskInstance.run_id == run_id)
        return list(query)


def test_a_contradiction_fails_the_plan_and_nothing_runs(run: Callable[..., dict[str, Any]]) -> None:
    ended = run(NOW + timedelta(minutes=4), bucket="pics", rescan=True, retry_failed=True)
    assert ended["states"].pop("plan") == "failed"
    assert ended["states"].pop("decide_held") == "skipped"
    assert set(ended["states"].values()) == {"upstream_failed"}


@pytest.mark.parametrize(
    "form",
    [
        {"bucket": "s3:/pics"},
        {"bucket": "s3://a b/c"},
        {"bucket": "a"},
        {"prefix": "{{ tomorrow }}/"},
        {"prefix": "x" * 1025},
        {"since": "yesterday"},
        {"until": "2026-11-05 00:00"},
        {"model_version": "latest"},
        {"model_version": "0"},
        {"consumers": 0},
        {"consumers": 257},
        {"consumers": "many"},
        {"look_back_days": -1},
        {"look_back_days": 32},
        {"shards": 0},
        {"shards": 1001},
        {"limit": -1},
        {"include": ".jpg"},
        {"exclude": [1]},
        {"allow_empty": "perhaps"},
        {"rescan": "perhaps"},
    ],
)
def test_the_form_refuses_what_a_field_cannot_be(dag: Any, form: dict[str, Any]) -> None:
    [(name, value)] = form.items()
    with pytest.raises(ParamValidationError):
        dag.params.get_param(name).resolve(value)


@pytest.mark.parametrize(
    "form",
    [
        {"bucket": "My_old.bucket-1"},
        {"bucket": None},
        {"bucket": ""},
        {"bucket": "s3://pics/uploads/{{ ds }}/"},
        {"bucket": "s3://pics"},
        {"prefix": None},
        {"prefix": "{{ ds }}/é/"},
        {"since": "2026-11-05T00:00:00Z"},
        {"until": "2026-11-05T01:00:00.5+01:00"},
        {"model_version": "12"},
        {"consumers": None},
        {"limit": 5},
        {"look_back_days": 0},
        {"include": [".jpg", "uploads/*"]},
        {"exclude": None},
    ],
)
def test_the_form_takes_what_a_field_can_be(dag: Any, form: dict[str, Any]) -> None:
    [(name, value)] = form.items()
    assert dag.params.get_param(name).resolve(value) == value


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("bucket", "s3:/pics", "'s3:/pics' is not a 'bucket name such as my-images, or URL such as s3://"),
        ("prefix", "{{ today }}", "is not a 'prefix of object keys; its placeholders may be {{ ds }}"),
        ("model_version", "latest", "'latest' is not a 'model version: a number such as 7, or the word stable'"),
        ("consumers", 500, "500 is greater than the maximum of 256"),
    ],
)
def test_the_form_refuses_in_words_that_a_person_understands(dag: Any, name: str, value: Any, message: str) -> None:
    with pytest.raises(ParamValidationError) as refused:
        dag.params.get_param(name).resolve(value)
    assert str(refused.value).startswith(message) or message in str(refused.value).splitlines()[0]


def test_the_form_shows_the_nightly_target_of_today(airflow_database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def help_of(name: str) -> str:
        return str(scan_params()[name].schema["description_md"])

    assert "but none is set. Enter a bucket" in help_of("bucket")
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_BUCKET", "nightly-images")
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_PREFIX", "uploads/{{ ds }}/")
    assert "currently **nightly-images** (Variable sniffer_bucket)" in help_of("bucket")
    assert r"currently **uploads/\{\{ ds \}\}/**" in help_of("prefix")


def test_a_secrets_backend_that_fails_takes_no_dag_away(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk import Variable

    def deny(*_: object, **__: object) -> str:
        raise PermissionError("the vault is sealed")

    monkeypatch.setattr(Variable, "get", deny)
    fields = {name: str(field.schema["description_md"]) for name, field in scan_params().items()}
    assert "unknown at the moment: the Variable sniffer_bucket cannot be read" in fields["bucket"]
    assert "the nightly prefix, unknown at the moment" in fields["prefix"]
    sources = {name: str(field.schema["description_md"]) for name, field in retrain_params().items()}
    assert "unknown, since the Variable sniffer_retraining cannot be read" in sources["source"]


def test_two_scans_at_a_time_over_all_runs(dag: Any) -> None:
    assert dag.get_task("scan").max_active_tis_per_dag == 2


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (None, IncompleteScan, "has no certificate in MySQL"),
        ({"scan_id": "other"}, ContractError, "holds the certificate of other"),
        ({"listed": 7}, ContractError, "7 objects were listed but 8 are accounted for .*predicted 1"),
        ({"problems": ("3 of 9 images failed",)}, IncompleteScan, "does not hold: 3 of 9 images failed"),
    ],
)
def test_a_certificate_is_judged_apart_from_its_program(
    change: dict[str, Any] | None, error: type[Exception], message: str
) -> None:
    certificate = None if change is None else dataclasses.replace(CERTIFICATE, **change)
    with pytest.raises(error, match=message):
        judge("s", certificate)


def test_what_the_asset_tells_is_json() -> None:
    told = json.loads(json.dumps(asset_extra(judge("s", CERTIFICATE))))
    assert told["until"] == "2026-11-22T13:30:00+00:00"
    assert sum(told[str(outcome)] for outcome in Outcome) == told["listed"] == 8
    assert (told["flagged_new"], told["codes"], told["warnings"]) == (0, {"fetch": 1}, ["1 of 8 images are gone"])


def test_the_certificate_is_told_in_words_and_its_warnings_as_warnings(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "sniffer_airflow.scan.certify"):
        log_in_words(CERTIFICATE, retried=False)
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert told[0] == ("INFO", "scan s: 6 of 8 listed objects were to be scored")
    assert ("INFO", "flagged: 0 newly, 1 in all") in told
    assert told[-1] == ("WARNING", "1 of 8 images are gone")


def store_certificate(database_url: str, certificate: Certificate) -> None:
    model = ModelRecord(7, "a" * 64, "b" * 64, "1", 0.5, ModelStatus.CANDIDATE)
    with Database(DatabaseSettings(database_url)) as database:
        database.migrate()
        database.models.register(model)
        database.scans.open(ScanRequest(certificate.scan_id, certificate.bucket), model.version, 0.5)
        database.scans.close(certificate)
