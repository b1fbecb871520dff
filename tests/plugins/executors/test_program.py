"""The operator around a real program: settings, logs, progress, report, exit statuses."""

from __future__ import annotations

import json
import logging
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowRuntimeError
from airflow.sdk.execution_time.comms import ErrorResponse
from support.task_context import task_context

from sniffer_airflow.executors.program import ProgramOperator

PASSWORD = "p@ss w/ö%rd:+"
SECRETS = (PASSWORD, "p%40ss%20w%2F%C3%B6%25rd%3A%2B", "aws-secret-key-1", "aws-session-token-1")


class StateStore:
    def __init__(self, error: Exception | None = None) -> None:
        self.values: list[tuple[str, Any]] = []
        self._error = error

    def set(self, key: str, value: Any) -> None:
        if self._error:
            raise self._error
        self.values.append((key, value))


@pytest.fixture(autouse=True)
def worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker with the three connections and the stand-in program."""
    aws = {"region_name": "eu-west-1", "endpoint_url": "http://127.0.0.1:5000", "aws_session_token": SECRETS[3]}
    connections = {
        "AWS_DEFAULT": {"conn_type": "aws", "login": "AKIA1", "password": SECRETS[2], "extra": aws},
        "MYSQL_DEFAULT": {
            "conn_type": "mysql",
            "host": "127.0.0.1",
            "port": 3307,
            "login": "sniffer",
            "password": PASSWORD,
            "schema": "scans",
        },
        "SNIFFER_SERVING": {"conn_type": "http", "host": "127.0.0.1", "port": 8501},
    }
    for name, connection in connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "programs"))
    monkeypatch.setenv("SNIFFER_BATCH_SIZE", "16")


def run(*arguments: str, database: StateStore | None = None, **kwargs: Any) -> Any:
    operator = ProgramOperator(
        task_id="program", module="pretend", arguments=list(arguments), progress_flag="--progress", **kwargs
    )
    return operator.execute(task_context(store=database or StateStore()))


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """Level and text of what the operator logs."""
    records: list[tuple[int, str]] = []

    class Log:
        def log(self, level: int, message: str, *values: object, **_: str) -> None:
            records.append((level, message % values))

        def info(self, message: str, *values: object) -> None:
            self.log(logging.INFO, message, *values)

        def warning(self, message: str, *values: object) -> None:
            self.log(logging.WARNING, message, *values)

    monkeypatch.setattr(ProgramOperator, "log", Log())
    return records


def test_settings_come_by_environment() -> None:
    environ = run()["environ"]
    assert (
        environ["SNIFFER_DATABASE_URL"] == f"mysql+mysqldb://sniffer:{SECRETS[1]}@127.0.0.1:3307/scans?charset=utf8mb4"
    )
    assert environ["SNIFFER_SERVING_URL"] == "http://127.0.0.1:8501/v1/models/drug_detector"
    assert environ["AWS_SECRET_ACCESS_KEY"] == SECRETS[2]
    assert environ["SNIFFER_BATCH_SIZE"] == "16"
    assert not [name for name in environ if "AIRFLOW" in name]


def test_no_secret_is_on_a_command_line() -> None:
    program, supervisor = run()["command_lines"]
    assert "pretend" in program and "supervisor.py" in supervisor
    assert not [secret for secret in SECRETS if secret in program + supervisor]


@pytest.mark.parametrize(
    ("variable", "shown"),
    [
        ("SNIFFER_DATABASE_URL", "mysql+mysqldb://sniffer:***@127.0.0.1:3307/scans?charset=utf8mb4"),
        ("AWS_SECRET_ACCESS_KEY", "***"),
        ("AWS_SESSION_TOKEN", "***"),
    ],
)
def test_no_secret_is_in_log_or_exception_even_if_the_program_tells(
    variable: str, shown: str, log: list[tuple[int, str]]
) -> None:
    with pytest.raises(AirflowException) as raised:
        run("--exit-status=1", f"--tell={variable}")
    assert str(raised.value) == f"{variable} is {shown}"
    assert (logging.WARNING, f"{variable} is {shown}") in log
    assert not [secret for secret in SECRETS if secret in "".join(text for _, text in log)]


def test_a_program_has_a_session_of_its_own() -> None:
    assert run()["session"] != os.getsid(0)


def test_the_result_is_returned_without_what_is_left_out() -> None:
    result = run(leave_out=["samples", "environ"])
    assert result["holds"] is True
    assert not {"samples", "environ"} & set(result)


def test_success_without_a_result_is_a_failure() -> None:
    with pytest.raises(AirflowFailException, match="wrote no JSON object to its --result"):
        run("--no-report")


def test_a_line_without_end_is_cut_not_collected(log: list[tuple[int, str]]) -> None:
    run("--say=" + "x" * 120_000)
    pieces = [text for _, text in log if text.startswith("xxx")]
    assert sum(map(len, pieces)) == 120_000
    assert max(map(len, pieces)) < 100_000


def test_progress_is_shown_in_the_state_store() -> None:
    database = StateStore()
    run(database=database)
    assert database.values == [("progress", {"listed": 7, "done": 3})]


def test_a_failing_state_store_does_not_fail_the_program(log: list[tuple[int, str]]) -> None:
    report = run(database=StateStore(AirflowRuntimeError(ErrorResponse(detail={"message": "down"}))))
    assert report["holds"] is True
    assert [level for level, text in log if "Progress cannot be shown" in text] == [logging.WARNING]


def test_wrong_settings_are_not_retried_and_the_reason_is_in_the_message() -> None:
    with pytest.raises(AirflowFailException, match="^sniffer.scan: bucket 'nope' does not exist$"):
        run("--exit-status=2", "--say=sniffer.scan: bucket 'nope' does not exist")


@pytest.mark.parametrize("how", ["--exit-status=1", f"--die-by={signal.SIGKILL:d}", f"--die-by={signal.SIGSEGV:d}"])
def test_any_other_failure_is_retried_with_the_reason_in_the_message(how: str) -> None:
    with pytest.raises(AirflowException, match="(^|; its last error: )3 images failed$") as raised:
        run(how, "--say=3 images failed")
    assert not isinstance(raised.value, AirflowFailException)


def test_a_missing_connection_is_named_with_the_command_that_creates_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SNIFFER_SERVING")
    with pytest.raises(AirflowFailException, match="airflow connections add sniffer_serving --conn-type http"):
        run()


def test_a_program_is_given_only_the_connections_it_needs() -> None:
    environ = run(serving=False, aws=False)["environ"]
    assert "SNIFFER_DATABASE_URL" in environ
    assert not {"AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "SNIFFER_SERVING_URL"} & set(environ)


def test_a_stop_asked_before_the_start_still_stops() -> None:
    operator = ProgramOperator(
        task_id="program", module="pretend", arguments=["--family=/dev/null"], aws=False, mysql=False, serving=False
    )
    operator.on_kill()
    with pytest.raises(AirflowException, match="was stopped by Airflow"):
        operator.execute(task_context(store=StateStore()))
