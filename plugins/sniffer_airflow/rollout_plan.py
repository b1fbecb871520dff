"""Plan stage of `rollout_serving`: which version, and the flags of each step; what people read of `verify`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sniffer.contracts import SettingsError
from sniffer_airflow.retrain_plan import flags
from sniffer_airflow.rollout_form import ROLL_BACK

STEPS = ("preflight", "load", "verify", "promote", "rollback")


def plan_rollout(
    params: Mapping[str, Any], exported: int | None, previous: int | None, model_base: str
) -> dict[str, Any]:
    """Version and flags of each step, as JSON-ready values.

    `exported` is the newest exported version, `previous` the one that a roll-back goes to; None where there is none.
    """
    back = params["action"] == ROLL_BACK
    version = params["version"] or (previous if back else exported)
    if version is None:
        raise SettingsError(
            "there is no previous version to go back to"
            if back
            else "no version was ever exported here: run export_model, or name a version in the form"
        )
    named = flags({"version": version, "model_base_path": model_base})
    steps = {step: [step, *named] for step in STEPS}
    steps["verify"] += flags(params["limits"] or {})
    return {"action": params["action"], "version": version, "first": "rollback" if back else "preflight", **steps}


def summary(verified: Mapping[str, Any]) -> str:
    """What `verify` found, as Markdown for who approves, and for the log."""
    lines = [f"**Version {verified['version']}**, beside the stable version {verified['stable'] or '(none yet)'}", ""]
    if note := verified.get("note"):
        lines.append(f"* {note}: golden examples are all that was checked")
    for server, found in verified["golden"].items():
        lines.append(f"* {server}: golden examples differ by at most {_figures(found)}")
    for server, found in (verified["latency"] or {}).items():
        ours, theirs = found["candidate"], found["stable"]
        lines.append(f"* {server}: latency {_figures(ours)}; of the stable version {_figures(theirs)}")
    shadow = verified["shadow"]
    if shadow is None:
        lines.append("* decisions were not compared: the stable version has scored no image yet")
    else:
        lines.append(f"* decisions on scanned images: {_figures(shadow)}")
        lines += [f"    * {_figures(flip)}" for flip in shadow.get("flips") or ()]
    return "\n".join(lines)


def _figures(found: Mapping[str, Any]) -> str:
    plain = {name: value for name, value in found.items() if not isinstance(value, (list, dict))}
    return ", ".join(f"{name.replace('_', ' ')} {_short(value)}" for name, value in plain.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
