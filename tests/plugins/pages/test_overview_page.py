"""The page *Flags and review* and the tab *Counts*, in Airflow's own API server with a real database behind it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from support.airflow_pages import get, signed_in
from support.dag_runs import connection_of
from support.database_servers import DatabaseServer
from support.database_users import url_of, users
from support.emptied_database import emptied_database
from support.ended_scans import certificate_of
from support.reviewed import decide, flag
from support.stored_rows import change, failed, model, predicted, record

from sniffer.adapters.mysql.database import Database
from sniffer.core.recall_records import MeasuredRecall, MeasuredShare, RecallFigures
from sniffer.core.records import Outcome, ScanRequest
from sniffer.core.settings import DatabaseSettings

TODAY = datetime.now(UTC).date()


@pytest.fixture
def database_url(database_server: DatabaseServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty database, of which Airflow has the Connection."""
    url = emptied_database(database_server)
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", connection_of(url))
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with Database(DatabaseSettings(database_url, patience_s=30)) as opened:
        yield opened


def words(page: str) -> str:
    """What a person reads, of one line."""
    text = re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(text).split())


def stable_model(database: Database) -> None:
    database.models.register(model(1))
    database.models.promote(1)


def ended(database: Database, scan_id: str, *, held: str = "", problems: tuple[str, ...] = (), **asked: Any) -> None:
    """A scan that has scored four images, two of them flagged, and listed nine."""
    token = database.scans.open(replace(ScanRequest(scan_id, "bkt"), **asked), 1, 0.5)
    scores = {"a": 0.9, "b": 0.8, "c": 0.1, "d": 0.2}
    record(database, [predicted(f"{scan_id}/{key}", score) for key, score in scores.items()], token=token)
    counts = {Outcome.PREDICTED: 4, Outcome.INACCESSIBLE: 3, Outcome.UNREADABLE: 1, Outcome.SKIPPED: 1}
    certificate = certificate_of(
        counts, scan_id=scan_id, run_number=token.run_number, held=held, problems=problems, codes={"archived": 2}
    )
    database.scans.close(certificate)


def test_empty_tables_say_what_to_do(client: TestClient, database_url: str) -> None:
    answer = get(client, "/sniffer/overview/")
    page = words(answer.text)
    assert answer.status_code == 200
    assert "No scan was started in the last 28 nights. Trigger scan_bucket" in page
    assert "Nothing waits, and nothing was decided in 7 days. sniffer review serve" in page
    assert "No model version is in production yet" in page and "rollout_serving makes one stable" in page
    assert "set capacity in the Variable sniffer_retraining" in page


def test_the_page_shows_flags_certificates_and_coverage(
    client: TestClient, database_url: str, database: Database
) -> None:
    stable_model(database)
    ended(database, "good", dag_run="scan_uploads/scheduled__1")
    ended(database, "flood", held="a flood", bucket="other", prefix="<script>\u202e/")
    ended(database, "broken", problems=("a digest that differs",), bucket="third")
    change(database_url, "UPDATE scans SET started_at = started_at - INTERVAL 1 DAY WHERE scan_id = 'good'")
    database.recall.store([measured()])
    answer = get(client, "/sniffer/overview/")
    page = words(answer.text)
    assert answer.status_code == 200 and "default-src 'none'" in answer.headers["content-security-policy"]
    assert "<script" not in answer.text and "src=" not in answer.text
    assert "4 of 8 newly scored images were flagged in 28 nights (50.00%). 1 scan held , not counted" in page
    assert f"{TODAY} 4 2 50.00% 1 {TODAY - timedelta(days=1)} 4 2 50.00% 0 {TODAY - timedelta(days=2)} 0 0 – 0" in page
    # Who has to look at it comes first.
    yesterday = TODAY - timedelta(days=1)
    assert f"s3://third/ by hand {TODAY} broken none of these nights 4 2 50.00%" in page
    assert f"s3://other/<script>\\u202e/ by hand {TODAY} held none of these nights 0 0 –" in page
    assert f"s3://bkt/ scan_uploads {yesterday} holds {yesterday} 4 2 50.00%" in page
    assert page.index("s3://third/") < page.index("s3://other/") < page.index("s3://bkt/")
    assert f"s3://bkt/ {yesterday} 9 4 50.00% 1 2 1 0 0 1" in page
    assert "all 80.0% (70.0% to 90.0%) 60.0% (50.0% to 70.0%) 1.0000% (0.5000% to 2.0000%) 400 3" in page


def measured() -> MeasuredRecall:
    shares = (
        MeasuredShare(0.01, 0.005, 0.02, 0.01),
        MeasuredShare(0.8, 0.7, 0.9, 0.8),
        MeasuredShare(0.6, 0.5, 0.7, 0.6),
    )
    figures = RecallFigures(10_000, 130, 400, 80, *shares, 0.5, 0.0, 1.0)
    return MeasuredRecall(TODAY, TODAY, 1, 0.5, "", "", figures, 3, 0, 20, "a method")


def test_one_source_has_its_own_nights(client: TestClient, database_url: str, database: Database) -> None:
    stable_model(database)
    ended(database, "one")
    ended(database, "two", bucket="other")
    answer = get(client, "/sniffer/overview/").text
    links = dict(re.findall(r'<a href="\?source=([0-9a-f]{64})">(s3://\w+/)</a>', answer))
    assert sorted(links.values()) == ["s3://bkt/", "s3://other/"]
    [bucket] = [source for source, place in links.items() if place == "s3://bkt/"]
    page = words(get(client, f"/sniffer/overview/?source={bucket}").text)
    assert "Only s3://bkt/ . All sources 2 of 4 newly scored images were flagged" in page
    assert get(client, f"/sniffer/overview/?source={'0' * 64}").status_code == 404
    assert get(client, "/sniffer/overview/?source=<script>").status_code == 422


def test_the_backlog_is_held_against_the_reviewers_capacity(
    client: TestClient, database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag(database, {f"k{number}": 0.9 for number in range(29)})
    decide(database, "k0")
    change(database_url, "UPDATE review_queue SET entered_at = UTC_TIMESTAMP(6) - INTERVAL 50 HOUR")
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_RETRAINING", json.dumps({"source": "s3://l/x", "capacity": 11}))
    page = words(get(client, "/sniffer/overview/").text)
    assert "Waiting for reviewers 28 images, the oldest for 2 days" in page
    assert "Newly flagged about 4 a day" in page
    assert "Decided about 0 a day: the backlog grows by about 4 a day" in page
    assert "Capacity 11 a day: the backlog empty in about 5 days" in page
    assert f"{TODAY} 1 {TODAY - timedelta(days=1)} 0" in page


def test_the_capacity_may_be_set_in_airflows_ui(
    client: TestClient, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")  # as the API server's own start does
    variable = {"key": "sniffer_retraining", "value": '{"capacity": 4321}'}
    made = client.post("/api/v2/variables", json=variable, headers=signed_in("ADMIN"))
    assert made.status_code == 201, made.text
    try:
        assert "Capacity 4,321 a day" in words(get(client, "/sniffer/overview/").text)
    finally:
        client.delete("/api/v2/variables/sniffer_retraining", headers=signed_in("ADMIN"))


@pytest.mark.parametrize(
    ("variable", "says"),
    [
        ("{", "the Variable sniffer_retraining is not JSON"),
        ('{"capacity": "many"}', "the Variable sniffer_retraining is of another form"),
        ('{"capacity": 0}', "capacity of the Variable sniffer_retraining must be at least 1, not 0"),
    ],
)
def test_a_wrong_capacity_is_said_and_takes_nothing_else_away(
    client: TestClient, database_url: str, monkeypatch: pytest.MonkeyPatch, variable: str, says: str
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_RETRAINING", variable)
    answer = get(client, "/sniffer/overview/")
    assert answer.status_code == 200 and says in words(answer.text)


@pytest.mark.parametrize("path", ["overview/", "run-counts/?dag_id=scan_bucket&run_id=r"])
def test_without_a_database_the_page_says_so_and_shows_no_password(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    away = {"conn_type": "mysql", "host": "127.0.0.1", "port": 1, "login": "u", "password": "secret-1", "schema": "s"}
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", json.dumps(away))
    answer = get(client, f"/sniffer/{path}")
    assert answer.status_code == 503 and "cannot be read" in answer.text
    assert "secret-1" not in answer.text and "Traceback" not in answer.text


def test_both_need_no_more_than_the_reader_role(
    client: TestClient,
    database_url: str,
    database: Database,
    database_server: DatabaseServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stable_model(database)
    ended(database, "scan_bucket.r.bkt-1")
    with users(database_server, database_url, "sniffer_reader"):
        monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", connection_of(url_of(database_url, "sniffer_reader")))
        for path in ("overview/", "run-counts/?dag_id=scan_bucket&run_id=r"):
            answer = get(client, f"/sniffer/{path}")
            assert answer.status_code == 200 and "s3://bkt/" in answer.text


def test_the_tab_of_a_scan_has_its_counts(client: TestClient, database_url: str, database: Database) -> None:
    stable_model(database)
    ended(database, "scan_bucket.r1.bkt-1")
    ended(database, "scan_bucket.r2.bkt-1", held="9 % are flagged")
    ended(database, "backfill_bucket.r3.bkt-1", problems=("7 images are missing",))
    page = words(get(client, "/sniffer/run-counts/?dag_id=scan_bucket&run_id=r1").text)
    assert "s3://bkt/ Certificate holds Listed 9 Newly scored 4 Newly flagged 2 (50.00% of them)" in page
    assert "unchanged 0 predicted 4 reused 0 unreadable 1 inaccessible 3 gone 0 skipped 1 failed 0" in page
    page = words(get(client, "/sniffer/run-counts/?dag_id=scan_bucket&run_id=r2").text)
    assert "Certificate held : 9 % are flagged" in page and "2 (50.00% of them), held back" in page
    page = words(get(client, "/sniffer/run-counts/?dag_id=backfill_bucket&run_id=r3").text)
    assert "Certificate broken Problem 7 images are missing" in page


def test_the_tab_of_a_scan_that_runs_has_what_is_stored_so_far(
    client: TestClient, database_url: str, database: Database
) -> None:
    stable_model(database)
    token = database.scans.open(ScanRequest("scan_uploads.r.bkt-1", "bkt"), 1, 0.5)
    record(database, [predicted("a", 0.9), failed("b")], token=token)
    page = words(get(client, "/sniffer/run-counts/?dag_id=scan_uploads&run_id=r").text)
    assert "Certificate running Listed known when it has ended Newly scored 1 Newly flagged 1" in page
    assert "Stored so far, by outcome" in page and "predicted 1" in page and "failed 1" in page


@pytest.mark.parametrize(
    ("dag_id", "text"),
    [
        ("scan_bucket", "This run has started no scan yet"),
        ("retrain_model", "when the task gate of this run has succeeded"),
        ("scan_summary", "Runs of scan_summary neither scan nor train."),
        ("<script>", "Runs of &lt;script&gt; neither scan"),
    ],
)
def test_the_tab_of_a_run_without_counts_says_so(client: TestClient, database_url: str, dag_id: str, text: str) -> None:
    answer = get(client, f"/sniffer/run-counts/?dag_id={quote(dag_id)}&run_id=none")
    assert answer.status_code == 200 and text in answer.text
