from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

from sniffer.core.errors import SettingsError
from sniffer_airflow.forms.limits import Limits
from sniffer_airflow.rollout.form import GOLDEN_LIMITS, ROLL_BACK, VERIFY_LIMITS, RolloutForm, rollout_params
from sniffer_airflow.rollout.plan import plan_rollout
from sniffer_rollout.__main__ import _LIMIT_FLAGS as LIMIT_FLAGS
from sniffer_rollout.verification import VerifyLimits


def form(**values: Any) -> RolloutForm:
    return RolloutForm.parse({name: param.value for name, param in rollout_params().items()} | values)


def test_the_version_of_the_form_comes_before_that_of_the_event() -> None:
    assert plan_rollout(form(), 7, 5, "/models").version == 7
    assert plan_rollout(form(version=6), 7, 5, "/models").load == [
        "load",
        "--version=6",
        "--model-base-path=/models",
    ]


def test_a_roll_back_names_the_previous_version_so_that_a_retry_does_not_swap_back() -> None:
    planned = plan_rollout(form(action=ROLL_BACK), 7, 5, "/models")
    assert (planned.first, planned.version) == ("rollback", 5)
    assert planned.rollback == ["rollback", "--version=5", "--model-base-path=/models"]


def test_every_step_that_proves_something_gets_its_limits() -> None:
    limits = {"max_flips": 0.5, "shadow_images": 0, "golden_tolerance": 0.01}
    planned = plan_rollout(form(limits=limits), 7, None, "/models")
    named = ["--version=7", "--model-base-path=/models"]
    assert planned.verify == ["verify", *named, "--max-flips=0.5", "--shadow-images=0", "--golden-tolerance=0.01"]
    assert planned.load == ["load", *named, "--golden-tolerance=0.01"]
    assert planned.promote == ["promote", *named, "--golden-tolerance=0.01"]
    assert planned.rollback == ["rollback", *named]


def test_manual_changes_are_taken_over_by_every_step_that_changes_something_and_only_if_asked() -> None:
    planned = plan_rollout(form(force_conflicts=True), 7, 5, "/models")
    for step in (planned.load, planned.verify, planned.promote, planned.rollback):
        assert "--force-conflicts" in step
    assert "--force-conflicts" not in planned.preflight
    planned = plan_rollout(form(), 7, 5, "/models")
    assert "--force-conflicts" not in [*planned.load, *planned.verify, *planned.promote, *planned.rollback]


@pytest.mark.parametrize(
    ("action", "message"), [("roll out", "no version has been exported here yet"), (ROLL_BACK, "no previous version")]
)
def test_without_a_version_it_says_what_to_do(action: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        plan_rollout(form(action=action), None, None, "/models")


@pytest.mark.parametrize(
    ("step", "known"), [("verify", VERIFY_LIMITS), ("load", GOLDEN_LIMITS), ("promote", GOLDEN_LIMITS)]
)
def test_the_form_knows_every_limit_of_a_step(step: str, known: Limits) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sniffer_rollout", step, "--help"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    limits = done.stdout.partition("limits of the proofs")[2].partition("output:")[0]
    assert set(known) == {flag.replace("-", "_") for flag in re.findall(r"^  --([a-z0-9-]+)", limits, re.M)}


def test_the_form_knows_the_kind_of_number_of_every_limit() -> None:
    usual = VerifyLimits()
    for flag, (proof, name, _) in LIMIT_FLAGS.items():
        bounds, default = VERIFY_LIMITS[flag.removeprefix("--").replace("-", "_")], getattr(getattr(usual, proof), name)
        assert bounds.whole == isinstance(default, int), flag
        assert bounds.least <= default <= bounds.most, flag
