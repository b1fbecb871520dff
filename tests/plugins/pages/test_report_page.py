"""The report page in Airflow's own API server, with its own users, and a real database behind it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
from fastapi.testclient import TestClient
from support.airflow_pages import get
from support.dag_runs import connection_of, run, stand_in
from support.judged import changed_images, gate_verdict

from sniffer.adapters.mysql.database import Database
from sniffer.core.changed_images import PICTURE_PREFIX
from sniffer.core.json_records import json_values
from sniffer.core.model_records import ModelRecord, ModelStatus


@pytest.fixture
def judged(database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """A version with a report."""
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", connection_of(database_url))
    record = ModelRecord(0, "", "b" * 64, "1", 0.5, ModelStatus.REJECTED, "t" * 64)
    version = database.models.reserve(record)
    database.models.record_verdict(version, record, None, gate_verdict(blessed=False), REPORT)
    return version


PUBLIC = "<p>Ä figure</p>"
PRIVATE = '<img src="data:image/jpeg;base64,AAAA"> user-4711/private.jpg'
REPORT = f"{PUBLIC}<!-- mistakes -->{PRIVATE}<!-- /mistakes -->"
PICTURE = "changes.svg?compared=200&stable=41&candidate=43&flips=0.200-0.900-1,0.700-0.100-0"


def test_the_report_may_load_nothing_and_is_kept_nowhere(client: TestClient, judged: int) -> None:
    answer = get(client, f"/sniffer/reports/{judged}/", role="USER")
    assert (answer.status_code, answer.text) == (200, REPORT)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "private, no-store"


@pytest.mark.parametrize("role", ["VIEWER", "USER", "OP", "ADMIN"])
def test_users_pictures_are_for_those_who_may_start_a_training(client: TestClient, judged: int, role: str) -> None:
    answer = get(client, f"/sniffer/reports/{judged}/", role=role)
    assert answer.status_code == 200 and PUBLIC in answer.text
    assert (PRIVATE in answer.text) == (role != "VIEWER")
    if role == "VIEWER":
        assert "4711" not in answer.text
        assert "those who may start retrain_model (the roles User, Op and Admin)" in answer.text


def test_a_report_that_does_not_mark_its_pictures_is_for_them_alone(
    client: TestClient, judged: int, database: Database
) -> None:
    record = ModelRecord(0, "", "b" * 64, "1", 0.5, ModelStatus.REJECTED, "t" * 64)
    database.models.record_verdict(judged, record, None, gate_verdict(blessed=False), PRIVATE)
    answer = get(client, f"/sniffer/reports/{judged}/")
    assert (answer.status_code, "4711" in answer.text) == (403, False)
    assert "ask the administrator" in answer.text
    assert get(client, f"/sniffer/reports/{judged}/", role="USER").text == PRIVATE


def test_nobody_sees_anything_without_login(client: TestClient, judged: int) -> None:
    run = "dag_id=retrain_model&run_id=r"
    pages = ("overview/", f"run-counts/?{run}", f"run-report/?{run}", f"reports/{judged}/")
    for path in (*pages, PICTURE, f"changed-images/{judged}.svg"):
        assert client.get(f"/sniffer/{path}").status_code == 401
    for path in ("/sniffer/docs", "/sniffer/openapi.json"):
        assert client.get(path).status_code in (401, 404)


def test_a_version_without_a_report_says_so(client: TestClient, judged: int) -> None:
    answer = get(client, f"/sniffer/reports/{judged + 1}/")
    assert answer.status_code == 404
    assert f"no report of version {judged + 1}" in answer.text
    assert get(client, "/sniffer/reports/<script>/").status_code == 422


def test_without_a_database_the_page_says_so_at_once_and_shows_no_password(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = {"conn_type": "mysql", "host": "127.0.0.1", "port": 1, "login": "u", "password": "secret-1", "schema": "s"}
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", json.dumps(away))
    answer = get(client, "/sniffer/reports/1/")
    assert answer.status_code == 503
    assert "cannot be read" in answer.text
    assert "secret-1" not in answer.text


@pytest.mark.parametrize("role", ["VIEWER", "USER"])
def test_pictures_of_changed_images_are_for_those_who_may_start_a_training(
    client: TestClient, judged: int, database: Database, role: str
) -> None:
    record = ModelRecord(0, "", "b" * 64, "1", 0.5, ModelStatus.REJECTED, "t" * 64)
    found = changed_images((0.1, 0.9), (0.8, 0.2), (0.1, 0.7))
    database.models.record_verdict(judged, record, None, gate_verdict(blessed=False), REPORT, found)
    answer = get(client, f"/sniffer/changed-images/{judged}.svg", role=role)
    assert answer.headers["cache-control"] == "private, no-store"
    if role == "VIEWER":
        assert (answer.status_code, PICTURE_PREFIX in answer.text) == (403, False)
        return
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    sheet = ElementTree.fromstring(answer.text)
    assert sum(element.tag.endswith("image") for element in sheet.iter()) == 3
    words = [" ".join(element.itertext()) for element in sheet.iter() if element.tag.endswith("text")]
    assert f"3 of 200 test images are decided differently by version {judged}" in words
    assert {"0.800 → 0.200", "no longer flagged"} <= set(words) and "drugs, <pills & more>" in words


def test_a_version_without_pictures_of_changed_images_says_so(client: TestClient, judged: int) -> None:
    answer = get(client, f"/sniffer/changed-images/{judged}.svg", role="USER")
    assert (answer.status_code, "the gate kept none of this version" in answer.text) == (404, True)
    assert "judge it again" in answer.text and "sniffer model gate" in answer.text


@pytest.fixture
def training_run(judged: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run of retrain_model whose gate has judged that version, and rejected it."""
    verdict = json_values(replace(gate_verdict(blessed=False), version=judged))
    stand_in({"snapshot": {}, "train": {}, "evaluate": {}, "gate": verdict}, tmp_path / "calls", monkeypatch)
    for name, value in (("TRAINING_DIR", "/t"), ("MODEL_BASE", "/m"), ("RETRAINING", '{"source": "/s"}')):
        monkeypatch.setenv(f"AIRFLOW_VAR_SNIFFER_{name}", value)
    return str(run("retrain_model")["run_id"])


def test_the_tabs_of_a_run_show_the_report_of_its_model_and_what_it_was_judged_by(
    client: TestClient, judged: int, training_run: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", connection_of(database_url))
    answer = get(client, f"/sniffer/run-report/?dag_id=retrain_model&run_id={quote(training_run)}", role="USER")
    assert (answer.status_code, answer.text) == (200, REPORT)
    seen = get(client, f"/sniffer/run-report/?dag_id=retrain_model&run_id={quote(training_run)}").text
    assert PUBLIC in seen and PRIVATE not in seen
    counts = get(client, f"/sniffer/run-counts/?dag_id=retrain_model&run_id={quote(training_run)}").text
    assert f'href="../reports/{judged}/"' in counts and ">rejected<" in counts
    assert "80.0% (70.0% to 90.0%)" in counts and "900; the reviewers' capacity is 1,000" in counts
    assert counts.count('<td class="number">500</td>') == counts.count('<td class="number">120</td>') == 2
    path = f"/api/v2/dags/retrain_model/dagRuns/{quote(training_run)}/taskInstances/gate/links"
    buttons = {name: url for name, url in get(client, path).json()["extra_links"].items() if url}
    assert [*buttons] == ["Report: rejected"] and buttons["Report: rejected"].endswith(f"/sniffer/reports/{judged}/")


@pytest.mark.parametrize(
    ("dag_id", "text"),
    [
        ("retrain_model", "when the task gate of this run has succeeded"),
        ("scan_bucket", "when the task scan or scan_backfill of this run has succeeded"),
        ("scan_partner", "when the task scan or scan_backfill of this run has succeeded"),
        ("backfill_bucket", "when the task estimate of this run has succeeded"),
        ("scan_summary", "Runs of scan_summary are not about one model version."),
        ("watch_labels", "Runs of watch_labels are not about one model version."),
        ("<script>", "Runs of &lt;script&gt; are not about"),
    ],
)
def test_the_tab_of_a_run_without_a_model_says_so(client: TestClient, dag_id: str, text: str) -> None:
    answer = get(client, f"/sniffer/run-report/?dag_id={quote(dag_id)}&run_id=none")
    assert answer.status_code == 200
    assert text in answer.text
    assert '<html lang="en">' in answer.text


def test_airflow_shows_a_page_in_its_menu_and_two_tabs_on_the_page_of_a_run(client: TestClient) -> None:
    plugins = get(client, "/api/v2/plugins", role="ADMIN").json()["plugins"]
    views = [view for plugin in plugins if plugin["name"] == "sniffer" for view in plugin["external_views"]]
    assert [(view["destination"], view["url_route"], view["href"]) for view in views] == [
        ("nav", "flags-and-review", "/sniffer/overview/"),
        ("dag_run", "counts", "/sniffer/run-counts/?dag_id={DAG_ID}&run_id={RUN_ID}"),
        ("dag_run", "model-report", "/sniffer/run-report/?dag_id={DAG_ID}&run_id={RUN_ID}"),
    ]


def test_the_picture_of_what_changes_is_drawn_of_its_address(client: TestClient) -> None:
    answer = get(client, f"/sniffer/{PICTURE}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    picture = ElementTree.fromstring(answer.text)
    words = [element.text for element in picture.iter() if element.tag.endswith("text")]
    assert {"Flagged of 200 images", "41", "43", "1 flagged now", "1 no longer flagged"} <= set(words)
    lines = [element for element in picture.iter() if element.tag.endswith("line") and element.get("x1") == "330"]
    assert [line.get("stroke-dasharray") for line in lines] == [None, "5 4"]


@pytest.mark.parametrize("flips", ["", "0.2-0.9-1", "0.200-0.900-1,<script>"])
def test_a_picture_of_anything_else_is_refused(client: TestClient, flips: str) -> None:
    path = f"/sniffer/changes.svg?compared=1&stable=1&candidate=1&flips={quote(flips)}"
    assert get(client, path).status_code == 422
