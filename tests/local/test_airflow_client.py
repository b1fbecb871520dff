"""What the demo does when Airflow is too busy to answer: it asks again, but starts no run twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.http_server import HttpAnswer, HttpRequest, HttpServer

from sniffer.core.errors import TransientError
from sniffer_local.airflow import AirflowClient, AirflowSite

RUNS = "/api/v2/dags/scan_bucket/dagRuns"
ANSWERS = {
    "/auth/token": HttpAnswer(201, b'{"access_token": "t"}'),
    f"{RUNS}/r": HttpAnswer(200, b'{"state": "queued"}'),
}


class BusyAirflow(HttpServer):
    """Answers as Airflow would, but breaks off at the first request for a run, or for runs."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()

    def respond(self, request: HttpRequest) -> HttpAnswer:
        self.asked[request.path] += 1
        if request.path.startswith(RUNS) and self.asked[request.path] == 1:
            return HttpAnswer(200, b"", content_length=9)
        return ANSWERS[request.path]


@pytest.fixture
def airflow() -> Iterator[BusyAirflow]:
    with BusyAirflow() as server:
        yield server


@pytest.fixture
def client(airflow: BusyAirflow, tmp_path: Path) -> AirflowClient:
    return AirflowClient(AirflowSite(tmp_path, tmp_path, urlsplit(airflow.url).port or 0, "secret", {}))


def test_a_question_that_nobody_answered_is_asked_again(airflow: BusyAirflow, client: AirflowClient) -> None:
    assert client.run_state("scan_bucket", "r") == "queued"
    assert airflow.asked[f"{RUNS}/r"] == 2


def test_a_run_is_never_started_twice(airflow: BusyAirflow, client: AirflowClient) -> None:
    with pytest.raises(TransientError, match="Airflow at .* does not answer .*: see its api-server's log"):
        client.trigger("scan_bucket", {})
    assert airflow.asked[RUNS] == 1
