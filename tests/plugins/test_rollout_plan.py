from __future__ import annotations

from typing import Any

import pytest

from sniffer.contracts import SettingsError
from sniffer_airflow.rollout_form import ROLL_BACK, rollout_params
from sniffer_airflow.rollout_plan import plan_rollout, summary


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
