"""The report page in Airflow's own API server, with its own users, and a real database behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.api_fastapi.app import create_app, get_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from fastapi.testclient import TestClient
from support.dag_runs import connection_of

from sniffer.adapters.mysql.database import Database
from sniffer.core.model_records import ModelRecord, ModelStatus


@pytest.fixture(scope="module")
def client(airflow_database: None) -> Iterator[TestClient]:
    with TestClient(create_app("core")) as client:
        yield client


@pytest.fixture
def judged(database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """A version with a report."""
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", connection_of(database_url))
    record = ModelRecord(0, "", "b" * 64, "1", 0.5, {}, ModelStatus.REJECTED, "t" * 64, {"blessed": False})
    version = database.models.reserve(record)
    database.models.record_verdict(version, record, "<p>Ä figure</p>")
    return version


def get(client: TestClient, path: str, role: str = "VIEWER") -> Any:
    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="r", role=role))
    return client.get(path, headers={"Authorization": f"Bearer {token}"})


def test_a_viewer_sees_the_report_and_it_may_load_nothing(client: TestClient, judged: int) -> None:
    answer = get(client, f"/sniffer/reports/{judged}/")
    assert (answer.status_code, answer.text) == (200, "<p>Ä figure</p>")
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_nobody_sees_it_without_login(client: TestClient, judged: int) -> None:
    assert client.get(f"/sniffer/reports/{judged}/").status_code == 401
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
