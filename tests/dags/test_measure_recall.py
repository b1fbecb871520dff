"""A run of `measure_recall`: what its programs are asked, and that its report is red when somebody has to look."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.dag_runs import run, stand_in

DRAWN = {"model_version": 3, "threshold": 0.5, "samples": [], "left_out": []}
SHARE = {"value": 0.9, "low": 0.85, "high": 0.94, "weighted": 0.91}
FIGURES = {
    "images": 1_000_000,
    "flagged": 300,
    "labels": 5000,
    "positives": 60,
    "prevalence": {"value": 3e-4, "low": 2e-4, "high": 4e-4, "weighted": 3e-4},
    "recall": SHARE,
    "precision": None,
    "recall_at_least": 0.2,
    "score_height": -8.0,
    "score_slope": 1.0,
}
MEASURED = {
    "night": "2026-11-20",
    "first_night": "2026-11-01",
    "model_version": 3,
    "threshold": 0.5,
    "bucket": "",
    "slice": "",
    "figures": FIGURES,
    "undecided": 0,
    "disputed": 0,
    "pairs": 400,
    "method": "m",
}


@pytest.fixture
def programs(airflow_database: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def programs(alarms: list[str], left_out: list[dict[str, str]]) -> None:
        measured = {"model_version": 3, "threshold": 0.5, "measured": [MEASURED], "drift": [], "alarms": alarms}
        stand_in({"draw": DRAWN | {"left_out": left_out}, "measure": measured}, tmp_path / "calls", monkeypatch)

    return programs


def test_the_figures_are_reported_and_the_variable_is_asked(programs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_RECALL", json.dumps({"labels": 500, "nights": 14}))
    programs([], [])
    ended = run("measure_recall", nights=90)
    assert ended["run"] == "success", ended["states"]
    assert ended["results"]["draw"]["argv"] == ["--labels=500", "--allow-left-out"]
    assert {"--nights=90", "--allow-empty"} <= {*ended["results"]["measure"]["argv"]}
    text = ended["results"]["report"]["text"]
    assert "all: prevalence 0.0300% (0.0200% to 0.0400%), recall 90.0% (85.0% to 94.0%), precision undefined" in text
    assert "the labels exclude a recall below 20.0%" in text


@pytest.mark.slow  # a run of a DAG
def test_a_night_unlike_the_past_or_a_scan_left_out_makes_the_report_red(programs: Any) -> None:
    programs(["pics, night of 2026-11-20: scores UNLIKE THE PAST"], [])
    assert run("measure_recall")["states"]["report"] == "failed"
    programs([], [{"scan_id": "s", "problem": "s cannot be drawn from"}])
    assert run("measure_recall")["states"]["report"] == "failed"
