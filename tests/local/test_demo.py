from __future__ import annotations

from pathlib import Path

import pytest

from sniffer_local import demo
from sniffer_local.dag_runs import DagRuns
from sniffer_local.demo import Demo, Story, start_stack
from sniffer_local.layout import Layout
from sniffer_local.registry import Registry
from sniffer_local.stack import prepare_stack


def test_preparing_the_stack_twice_gives_the_same_recipes(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    first, second = (prepare_stack(layout, Registry(layout.state)) for _ in range(2))
    for name in ("database_service", "s3_service", "serving_service"):
        one, other = getattr(first, name), getattr(second, name)
        assert (one.command, one.environ) == (other.command, other.environ)
    assert [s.environ for s in first.airflow_services] == [s.environ for s in second.airflow_services]
    assert second.airflow.password == first.airflow.password


def test_secrets_of_the_stack_show_in_no_repr_and_no_command(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    stack = prepare_stack(layout, Registry(layout.state))
    assert any(connection.password == stack.database.password for connection in stack.airflow_connections)
    secrets = (stack.database.password, stack.airflow.password)
    services = (stack.database_service, stack.s3_service, stack.serving_service, *stack.airflow_services)
    shown = repr(stack) + "".join(" ".join(service.command) for service in services)
    assert [secret for secret in secrets if secret in shown] == []


@pytest.mark.parametrize("name", ["AIRFLOW__CORE__DAGS_FOLDER", "AWS_ENDPOINT_URL", "SNIFFER_DATABASE_URL"])
def test_settings_of_another_stack_do_not_reach_ours(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sniffer_local.processes import run_checked

    monkeypatch.setenv(name, "elsewhere")
    run_checked(("env",), tmp_path / "log", {"OURS": "here"})
    assert "elsewhere" not in (tmp_path / "log").read_text()
    assert "OURS=here" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(("former", "is_new"), [(True, True), (False, True), (True, False)])
def test_airflows_former_database_is_told_of_once(
    former: bool, is_new: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where SQLite held its past runs, and only by the start that makes the new database."""
    layout = Layout(tmp_path)
    registry = Registry(layout.state)
    stack, story = prepare_stack(layout, registry), Story()
    monkeypatch.setattr(demo, "ensure_supervised", lambda *_: True)
    monkeypatch.setattr(demo, "wait_for", lambda *_: None)
    monkeypatch.setattr(demo, "migrate_metadata", lambda *_: is_new)
    file = tmp_path / "airflow" / "airflow.db"
    if former:
        file.write_text("SQLite")
    start_stack(Demo(layout, registry, stack, story, DagRuns(stack.airflow, layout.logs, story.tell)))
    told = [line for line in capsys.readouterr().out.splitlines() if "empty database" in line]
    assert len(told) == (former and is_new)
    assert all(f"Its past runs are in {file}, which nothing reads any more" in line for line in told)
    assert file.exists() == former
