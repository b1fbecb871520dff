"""The report page in Airflow's own API server, with its own users."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.api_fastapi.app import create_app, get_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from fastapi.testclient import TestClient

RUN = "retrain_model.manual__2026-11-22T13:30:00+00:00"


@pytest.fixture(scope="module")
def client(airflow_database: None) -> Iterator[TestClient]:
    with TestClient(create_app("core")) as client:
        yield client


@pytest.fixture
def training_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_TRAINING_DIR", str(tmp_path / "training"))
    report = tmp_path / "training" / "runs" / RUN / "report.html"
    report.parent.mkdir(parents=True)
    report.write_text("<p>figures</p>")
    (tmp_path / "report.html").write_text("outside")
    return tmp_path


def get(client: TestClient, path: str, role: str = "VIEWER") -> Any:
    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="r", role=role))
    return client.get(path, headers={"Authorization": f"Bearer {token}"})


def test_a_viewer_sees_the_report_and_it_may_load_nothing(client: TestClient, training_dir: Path) -> None:
    answer = get(client, f"/sniffer/reports/{RUN}/")
    assert (answer.status_code, answer.text) == (200, "<p>figures</p>")
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_nobody_sees_it_without_login(client: TestClient, training_dir: Path) -> None:
    assert client.get(f"/sniffer/reports/{RUN}/").status_code == 401
    for path in ("/sniffer/docs", "/sniffer/openapi.json"):
        assert "openapi" not in client.get(path).text


@pytest.mark.parametrize("name", ["another", "..", "..%2F..", "%2e%2e", ".hidden", "a%00b"])
def test_what_is_no_run_shows_no_file(name: str, client: TestClient, training_dir: Path) -> None:
    answer = get(client, f"/sniffer/reports/{name}/", role="ADMIN")
    assert "outside" not in answer.text
    assert answer.status_code == 404 or "<title>Airflow" in answer.text


def test_a_missing_report_says_where_to_look(
    client: TestClient, training_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_VAR_SNIFFER_TRAINING_DIR")
    answer = get(client, f"/sniffer/reports/{RUN}/")
    assert answer.status_code == 404
    assert "sniffer_training_dir" in answer.text
