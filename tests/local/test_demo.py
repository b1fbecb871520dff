from __future__ import annotations

from pathlib import Path

import pytest

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
