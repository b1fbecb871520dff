from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sniffer.contracts import Certificate, FailureSample, Outcome
from sniffer_local.demo import certificate_text
from sniffer_local.layout import Layout
from sniffer_local.registry import Registry
from sniffer_local.stack import prepare_stack

CERTIFICATE = Certificate(
    scan_id="scan_bucket.manual__1",
    bucket="photos",
    prefix="2026/",
    since=None,
    until=None,
    limited=False,
    listing_digest="ab" * 32,
    listed=12,
    outcomes={Outcome.UNCHANGED: 3, Outcome.PREDICTED: 6, Outcome.REUSED: 2, Outcome.UNREADABLE: 1},
    flagged=4,
    model_version=7,
    model_digest="cd" * 32,
    preprocessing_version="1",
    threshold=0.5,
    duration_s=3.0,
    images_per_s=2.0,
    failure_samples=(FailureSample("2026/a.jpg", Outcome.UNREADABLE, "truncated", "ends early"),),
)


def test_the_certificate_shows_the_sum_that_proves_it() -> None:
    text = certificate_text(CERTIFICATE)
    assert "holds" in text
    assert "12 = 3 unchanged + 6 predicted + 2 reused + 1 unreadable + 0 gone + 0 failed" in text
    assert "2026/a.jpg: truncated" in text


def test_a_certificate_that_does_not_hold_says_why() -> None:
    text = certificate_text(replace(CERTIFICATE, problems=("2 images without an outcome",)))
    assert "DOES NOT HOLD: 2 images without an outcome" in text


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
