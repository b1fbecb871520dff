from __future__ import annotations

from typing import Any

import pytest

from sniffer.core.errors import SettingsError
from sniffer_airflow.rollout.form import ROLL_BACK, rollout_params
from sniffer_airflow.rollout.plan import plan_rollout, summary


def form(**values: Any) -> dict[str, Any]:
    return {name: param.value for name, param in rollout_params().items()} | values


def test_the_version_of_the_form_comes_before_that_of_the_event() -> None:
    assert plan_rollout(form(), 7, 5, "/models")["version"] == 7
    assert plan_rollout(form(version=6), 7, 5, "/models")["load"] == [
        "load",
        "--version=6",
        "--model-base-path=/models",
    ]


def test_a_roll_back_names_the_previous_version_so_that_a_retry_does_not_swap_back() -> None:
    planned = plan_rollout(form(action=ROLL_BACK), 7, 5, "/models")
    assert (planned["first"], planned["version"]) == ("rollback", 5)
    assert planned["rollback"] == ["rollback", "--version=5", "--model-base-path=/models"]


def test_limits_are_verifys_alone() -> None:
    planned = plan_rollout(form(limits={"max_flips": 0.5, "shadow_images": 0}), 7, None, "/models")
    assert planned["verify"][-2:] == ["--max-flips=0.5", "--shadow-images=0"]
    assert not [step for step in ("load", "promote") if "--max-flips=0.5" in planned[step]]


@pytest.mark.parametrize(
    ("action", "message"), [("roll out", "no version was ever exported"), (ROLL_BACK, "no previous version")]
)
def test_without_a_version_it_says_what_to_do(action: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        plan_rollout(form(action=action), None, None, "/models")


def test_the_first_rollouts_summary_says_what_was_not_checked() -> None:
    note = "there is no stable version yet"
    golden = {"http://one": {"pixels": 0.0, "serving_default": 0.0}}
    found = {"version": 1, "stable": None, "golden": golden, "latency": None, "shadow": None, "note": note}
    text = summary(found)
    assert note in text
    assert "(none yet)" in text
    assert "decisions" not in text


def test_the_summary_gives_whoever_approves_figures_with_units() -> None:
    flip = {"bucket": "b", "key": "k.jpg", "stable_score": 0.2, "candidate_score": 0.9, "flagged_now": True}
    shadow = {
        "compared": 199,
        "left_out": {"deleted": 1},
        "flagged_by_stable": 41,
        "flagged_by_candidate": 42,
        "flip_share": 1 / 199,
        "flag_change": 1 / 199,
        "flag_change_per_night": 5000.0,
        "flips": [flip],
    }
    latency = {
        "batch": 8,
        "rounds": 30,
        "candidate": {"median_ms": 20.0, "p95_ms": 30.25},
        "stable": {"median_ms": 21.0, "p95_ms": 33.0},
    }
    found = {
        "version": 2,
        "stable": 1,
        "golden": {"http://one": {"pixels": 1e-7, "serving_default": 2e-6}},
        "latency": {"http://one": latency},
        "shadow": shadow,
    }
    assert summary(found).splitlines() == [
        "**Version 2**, beside the stable version 1",
        "",
        "* http://one: golden examples differ from what was published by at most 1.0e-07 by `pixels` and 2.0e-06 by "
        "`serving_default`",
        "* http://one: latency of a batch of 8: median 20.0 ms (stable version: 21.0), 95th percentile 30.2 ms (33.0)",
        "* decisions on 199 scanned images (left out: 1 deleted): flags 42 (stable version: 41), differs on 0.5%; "
        "+5000 flags a night; the largest moves:",
        "    * `s3://b/k.jpg` 0.200 → 0.900, flagged now",
    ]
    assert "**not compared**" in summary({**found, "shadow": None})
