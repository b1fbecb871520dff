"""What reviewers have decided becomes a table of labels, and a retraining once enough of it is new."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.dag_runs import create_event, events, run, stand_in

TABLE = "s3://labels/2026/part-review.csv"
PUBLISHED = {
    "location": TABLE,
    "labels": {"other": 5, "drugs": 3},
    "left_out": {"conflict": 1, "open": 2, "replaced": 0},
    "conflicts": ["bkt/a and bkt/b (decisions 1, 2)"],
    "digest": "a" * 64,
}
RETRAINING = {"source": "s3://labels/2026/part-*", "review_labels": TABLE}


@pytest.fixture
def results(airflow_database: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_TRAINING_DIR", "/var/lib/sniffer")
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_MODEL_BASE", "s3://models")
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_RETRAINING", json.dumps(RETRAINING))
    return stand_in({"publish": PUBLISHED, "count_labels": {"labelled": 9, "new": 9}}, tmp_path / "calls", monkeypatch)


def test_another_table_is_announced_and_the_same_one_is_not(results: Callable[..., None]) -> None:
    # A table without any label would make `watch_labels` fail.
    results(publish={**PUBLISHED, "labels": {"other": 0, "drugs": 0}})
    assert run("publish_labels")["states"]["announce_published"] == "skipped"
    results()
    ended = run("publish_labels")
    assert ended["run"] == "success" and set(ended["states"].values()) == {"success"}
    assert ended["results"]["publish"]["argv"] == [f"--to={TABLE}"]
    (event,) = events("published_labels")
    assert (event["location"], event["digest"], event["labels"]) == (TABLE, "a" * 64, PUBLISHED["labels"])
    # What somebody creates by hand says nothing about the table.
    create_event("published_labels", {"location": TABLE, "digest": "b" * 64})
    ended = run("publish_labels")
    assert ended["states"] == {"plan": "success", "publish": "success", "announce_published": "skipped"}
    results(publish={**PUBLISHED, "digest": "c" * 64})
    assert run("publish_labels", review_labels=TABLE)["states"]["announce_published"] == "success"
    assert events("published_labels")[-1]["digest"] == "c" * 64


def test_without_a_table_it_says_where_to_name_one(
    results: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_RETRAINING", "{}")
    ended = run("publish_labels")
    assert ended["run"] == "failed" and ended["states"]["plan"] == "failed"
    assert run("publish_labels", review_labels="/srv/labels.csv")["results"]["publish"]["argv"] == [
        "--to=/srv/labels.csv"
    ]
