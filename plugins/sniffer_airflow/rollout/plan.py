"""Plan stage of `rollout_serving`: which version, and the flags of each step; what people read of `verify`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sniffer.core.errors import SettingsError
from sniffer.core.flags import render_flags
from sniffer_airflow.rollout.form import ROLL_BACK

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
    named = render_flags({"version": version, "model_base_path": model_base})
    steps = {step: [step, *named] for step in STEPS}
    steps["verify"] += render_flags(params["limits"] or {})
    return {"action": params["action"], "version": version, "first": "rollback" if back else "preflight", **steps}


def summary(verified: Mapping[str, Any]) -> str:
    """What `verify` found, as Markdown for who approves, and for the log."""
    lines = [f"**Version {verified['version']}**, beside the stable version {verified['stable'] or '(none yet)'}", ""]
    if note := verified.get("note"):
        lines.append(f"* {note}: golden examples are all that was checked")
    lines += [f"* {server}: golden examples {_golden(found)}" for server, found in verified["golden"].items()]
    lines += [f"* {server}: latency {_latency(found)}" for server, found in (verified["latency"] or {}).items()]
    if verified["stable"] is not None:
        lines += _decisions(verified["shadow"])
    return "\n".join(lines)


def _golden(found: Mapping[str, float]) -> str:
    differences = [f"{difference:.1e} by `{signature}`" for signature, difference in found.items()]
    return f"differ from what was published by at most {' and '.join(differences)}"


def _latency(found: Mapping[str, Any]) -> str:
    ours, theirs = found["candidate"], found["stable"]
    return (
        f"of a batch of {found['batch']}: median {ours['median_ms']:.1f} ms (stable version: "
        f"{theirs['median_ms']:.1f}), 95th percentile {ours['p95_ms']:.1f} ms ({theirs['p95_ms']:.1f})"
    )


def _decisions(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return ["* decisions were **not compared**: no image has been scanned yet, or none was asked for"]
    nightly = found["flag_change_per_night"]
    gone = ", ".join(f"{count} {reason}" for reason, count in found["left_out"].items())
    return [
        f"* decisions on {found['compared']} scanned images{f' (left out: {gone})' if gone else ''}: flags "
        f"{found['flagged_by_candidate']} (stable version: {found['flagged_by_stable']}), differs on "
        f"{found['flip_share']:.1%}; {'' if nightly is None else f'{nightly:+.0f} flags a night; '}"
        f"{'the largest moves:' if found['flips'] else 'no flips'}",
        *(f"    * {_flip(flip)}" for flip in found["flips"]),
    ]


def _flip(flip: Mapping[str, Any]) -> str:
    now = "flagged now" if flip["flagged_now"] else "no longer flagged"
    return f"`s3://{flip['bucket']}/{flip['key']}` {flip['stable_score']:.3f} → {flip['candidate_score']:.3f}, {now}"
