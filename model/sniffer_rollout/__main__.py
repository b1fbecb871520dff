"""`python -m sniffer_rollout STEP`: a published version comes into the model servers, step by step.

preflight: may this version be rolled out?  load: it is served beside the others, labelled canary.  verify: golden
examples, latency and decisions beside the stable version.  promote: it becomes stable, the former one previous.
restore: back to what the database says.  rollback: the previous version becomes stable again.  run: preflight, load,
verify and promote; a failure restores. Every step may be run again.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import SnifferError
from sniffer.core.files import write_json
from sniffer.core.json_records import json_values
from sniffer.core.logs import configure_logging
from sniffer.core.settings import database_settings, fetch_settings, image_settings, rollout_settings
from sniffer_rollout.interruption import Interruption
from sniffer_rollout.proofs.golden_check import GoldenLimits
from sniffer_rollout.proofs.latency import LatencyLimits
from sniffer_rollout.proofs.shadow import ShadowLimits
from sniffer_rollout.reports import RunReport, StepReport
from sniffer_rollout.steps import Rollout, RolloutContext
from sniffer_rollout.targets.open import open_target
from sniffer_rollout.verification import VerifyLimits

log = logging.getLogger(__name__)

ReportT = TypeVar("ReportT")

STEPS = ("preflight", "load", "verify", "promote", "restore", "rollback", "run")
_NEED_VERSION = ("load", "verify", "promote")
"""Steps that never choose a version themselves, so that all of one rollout are about the same one."""
_LIMIT_FLAGS: dict[str, tuple[str, str, str]] = {
    "--golden-tolerance": ("golden", "pixels", "largest difference of a golden score by the signature pixels"),
    "--encoded-tolerance": ("golden", "encoded", "the same by serving_default, which decodes images itself"),
    "--latency-rounds": ("latency", "rounds", "batches timed of each version on each server"),
    "--latency-batch": ("latency", "batch", "images in such a batch"),
    "--max-median-ratio": ("latency", "median_ratio", "how many times the stable version's median latency is allowed"),
    "--max-p95-ratio": ("latency", "p95_ratio", "the same for the 95th percentile"),
    "--latency-floor-ms": ("latency", "floor_ms", "slower by no more than this never counts"),
    "--shadow-images": ("shadow", "images", "how many of the newest scanned images both versions score; 0: none"),
    "--least-shadow-images": ("shadow", "least", "fail when fewer of them can still be compared"),
    "--max-flips": ("shadow", "flips", "share of those images on which the two may decide differently"),
    "--max-flag-change": ("shadow", "flag_change", "largest change in flagged images, as a share of those images"),
}
_GROUPS: dict[str, type[Any]] = {"golden": GoldenLimits, "latency": LatencyLimits, "shadow": ShadowLimits}


def run_all(rollout: Rollout, version: int | None, interruption: Interruption) -> RunReport:
    """Preflight, load, verify, promote; restores and raises on any failure, also an interruption."""
    preflight = rollout.preflight(version)
    chosen = preflight.version

    def perform(name: str, step: Callable[[int], ReportT]) -> ReportT:
        interruption.pause(0)
        log.info("step %s of version %d", name, chosen)
        return step(chosen)

    try:
        load = perform("load", rollout.load)
        verify = perform("verify", rollout.verify)
        promote = perform("promote", rollout.promote)
    except BaseException as error:
        log.error("version %d is not rolled out, restoring: %s", chosen, error)
        interruption.ignore()
        _restore_after(rollout)
        raise
    return RunReport(chosen, preflight, load, verify, promote)


def _restore_after(rollout: Rollout) -> None:
    """Restore; a failure of that is only logged, so that the rollout's own failure is reported."""
    try:
        rollout.restore()
    except SnifferError as error:
        log.error("cannot restore, run `restore` later: %s", error)


def _perform(rollout: Rollout, step: str, version: int | None, interruption: Interruption) -> StepReport:
    steps: dict[str, Callable[[], StepReport]] = {
        "preflight": lambda: rollout.preflight(version),
        "load": lambda: rollout.load(version or 0),
        "verify": lambda: rollout.verify(version or 0),
        "promote": lambda: rollout.promote(version or 0),
        "restore": rollout.restore,
        "rollback": lambda: rollout.rollback(version),
        "run": lambda: run_all(rollout, version, interruption),
    }
    return steps[step]()


def _limits(flags: argparse.Namespace) -> VerifyLimits:
    def group(name: str) -> dict[str, Any]:
        return {
            field: getattr(flags, flag.lstrip("-").replace("-", "_"))
            for flag, (of, field, _) in _LIMIT_FLAGS.items()
            if of == name
        }

    return VerifyLimits(**{name: limits(**group(name)) for name, limits in _GROUPS.items()})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sniffer_rollout",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Environment: SNIFFER_DATABASE_URL, SNIFFER_ROLLOUT_TARGET, SNIFFER_MODEL_BASE_PATH, AWS_*; README, "
        '"Roll out".\nExit status: 0 done; 1 not in time, run again; 2 refused, or wrong settings.',
    )
    parser.add_argument("step", choices=STEPS, metavar="STEP", help=", ".join(STEPS))
    parser.add_argument(
        "--version",
        type=_version,
        metavar="N",
        help="the model version; preflight and run choose the newest blessed one without it, rollback the previous one "
        "(name it where a retry may come, or a second run swaps back)",
    )
    parser.add_argument("--model-base-path", metavar="DIR|s3://BUCKET/PREFIX", help="default: SNIFFER_MODEL_BASE_PATH")
    parser.add_argument(
        "--target",
        metavar="kubernetes:NAMESPACE/DEPLOYMENT|local:DIR",
        help="default: SNIFFER_ROLLOUT_TARGET; a local target's servers are SNIFFER_SERVING_REPLICAS",
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write what was found there as JSON")
    parser.add_argument(
        "--load-limit-s",
        type=_amount,
        metavar="S",
        help="how long loading may take (SNIFFER_ROLLOUT_LOAD_LIMIT_S, 900)",
    )
    parser.add_argument(
        "--force-conflicts",
        action="store_true",
        help="take over a field of the target that somebody else has changed by hand",
    )
    verify = parser.add_argument_group("what verify lets pass")
    defaults = VerifyLimits()
    for flag, (group, field, text) in _LIMIT_FLAGS.items():
        default = getattr(getattr(defaults, group), field)
        parse = _count if isinstance(default, int) else _amount
        verify.add_argument(flag, type=parse, default=default, metavar="N", help=f"{text} (default: %(default)s)")
    return parser


def _version(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a model version: a whole number above 0")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _amount(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    # Written so that NaN is refused.
    if not 0 <= amount < float("inf"):
        raise argparse.ArgumentTypeError(f"must be 0 or above, not {text}")
    return amount


def main(argv: Sequence[str] | None = None) -> int:
    """Run one step, or all. Exit status: 0 done, 1 try again, 2 refused or wrong settings."""
    parser = _parser()
    flags = parser.parse_args(argv)
    if flags.step in _NEED_VERSION and flags.version is None:
        parser.error(f"the step {flags.step} needs --version")
    configure_logging(f"rollout {flags.step}")
    try:
        return _report(flags)
    except SnifferError as error:
        print(f"rollout: {error}", file=sys.stderr)
        return error.exit_status


def _report(flags: argparse.Namespace) -> int:
    """Run, and write down what came of it, whatever that was."""
    document: dict[str, Any] = {"step": flags.step, "version": flags.version, "done": False}
    try:
        target, report = _run(flags)
        document |= {"target": target, **json_values(report), "done": True}
    except SnifferError as error:
        document["error"] = str(error)
        raise
    finally:
        if flags.report is not None:
            write_json(flags.report, document)
    return 0


def _run(flags: argparse.Namespace) -> tuple[str, StepReport]:
    """The description of the target, and what the step reports."""
    settings = rollout_settings(target=flags.target, model_base=flags.model_base_path)
    if flags.load_limit_s is not None:
        settings = dataclasses.replace(settings, load_limit_s=flags.load_limit_s)
    interruption = Interruption()
    interruption.listen()
    target = open_target(settings, force_conflicts=flags.force_conflicts)
    with Database(database_settings()) as database, tempfile.TemporaryDirectory(prefix="sniffer-rollout-") as downloads:
        database.check()
        context = RolloutContext(
            database,
            target,
            settings,
            _limits(flags),
            fetch_settings(),
            image_settings(),
            Path(downloads),
            interruption.pause,
        )
        return target.description, _perform(Rollout(context), flags.step, flags.version, interruption)


if __name__ == "__main__":
    sys.exit(main())
