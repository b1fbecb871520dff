"""The retraining that `watch_labels` starts uses the labels that were watched."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from support.asset_events import event, triggering

from sniffer_airflow.names import LABELLED_IMAGES
from sniffer_airflow.training.tasks import plan_of_training
from sniffer_airflow.training.watched import watched_for

COUNTS = {"labelled": 5000, "new": 600}


@pytest.fixture(autouse=True)
def _variables(airflow_database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_TRAINING_DIR", "/var/lib/sniffer")
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_MODEL_BASE", "s3://models")
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_RETRAINING", '{"source": "s3://variable/now"}')


BY_WATCHER = ("watch_labels", "announce_labels")


def source_of(*extras: Any, by: tuple[str, str] | None = BY_WATCHER, **form: Any) -> str:
    run = SimpleNamespace(dag_id="retrain_model", run_id="asset_triggered__1", triggering_user_name=None)
    events = triggering(*(event(LABELLED_IMAGES, extra, by) for extra in extras))
    planned: Any = plan_of_training.function(dag_run=run, params=form, triggering_asset_events=events)
    [source] = [word.removeprefix("--source=") for word in planned["snapshot"] if word.startswith("--source=")]
    return str(source)


def test_the_run_of_an_event_takes_the_source_that_was_watched() -> None:
    assert source_of({**COUNTS, "source": "s3://watched/a"}) == "s3://watched/a"
    assert source_of({**COUNTS, "source": "s3://watched/a"}, {**COUNTS, "source": "s3://watched/b"}) == "s3://watched/b"
    assert source_of() == "s3://variable/now"
    assert source_of(source="/form") == "/form"


@pytest.mark.parametrize(
    "extra",
    [
        None,
        {},
        COUNTS,
        {"source": None},
        {"source": 3},
        {"source": ["s3://x"]},
        {"source": " "},
        {"source": "a\0b"},
        {"source": "x" * 1025},
        {"source": "s3://x", "requested_by": 3},
        ["s3://x"],
        "s3://x",
    ],
)
def test_an_event_that_names_no_source_starts_one_by_the_variable_or_an_older_event(
    extra: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert source_of(extra) == "s3://variable/now"
    assert "an event of the Asset labelled_images, of 2026-11-26 00:00:00+00:00, is left out: its " in caplog.text
    assert source_of({"source": "s3://watched/a"}, extra) == "s3://watched/a"


def test_with_four_eyes_nobody_chooses_the_labels_by_an_event_made_by_hand(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert source_of({"source": "s3://chosen"}, by=None) == "s3://chosen"
    monkeypatch.setenv("SNIFFER_FOUR_EYES", "yes")
    assert source_of({"source": "s3://watched/a"}) == "s3://watched/a"
    for by in (None, ("another_dag", "announce_labels")):
        assert source_of({"source": "s3://chosen"}, by=by) == "s3://variable/now"
    assert "the source s3://chosen is left out: its event was created by hand" in caplog.text


def test_whoever_watched_is_known_to_whoever_approves() -> None:
    events = [
        event(LABELLED_IMAGES, {**COUNTS, "source": "/a", "requested_by": ["ana"]}, BY_WATCHER),
        event(LABELLED_IMAGES, {**COUNTS, "source": "/b"}, BY_WATCHER),
        event(LABELLED_IMAGES, {**COUNTS, "source": "/c", "requested_by": ["mallory"]}),
    ]
    assert watched_for(events) == ("ana",)


def test_what_an_event_says_cannot_be_taken_for_a_flag() -> None:
    assert source_of({"source": "--lineage=/etc/passwd"}) == "--lineage=/etc/passwd"
