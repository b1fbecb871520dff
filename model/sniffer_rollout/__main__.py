"""`sniffer rollout STEP`: a published version comes into the model servers, step by step.

preflight: may this version be rolled out?  load: it is served beside the others, labelled canary.  verify: golden
examples, latency and decisions beside the stable version.  promote: it becomes stable, the last one previous.
restore: back to what the database says.  rollback: the previous version becomes stable again.  run: preflight, load,
verify and promote; a failure restores. Every step may be run again.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from sniffer.adapters.mysql.database import Database
from sniffer.core.command_group import answer
from sniffer.core.ending import GRACE_S
from sniffer.core.errors import SnifferError
from sniffer.core.json_records import json_values
from sniffer.core.model_records import NOBODY, Decision
from sniffer.core.parser import Parser, amount, count, model_version, seconds
from sniffer.core.program import Program, ProgramResult
from sniffer.core.settings import database_settings, fetch_settings, image_settings, rollout_settings
from sniffer.core.temporary import temporary_folder
from sniffer.core.variables import S3_ENVIRONMENT
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
_GOLDEN, _ALL_PROOFS = ("golden",), tuple(_GROUPS)


@dataclass(frozen=True, slots=True)
class StepRequest:
    """Which version a step is asked for, None where it chooses one itself; and who decided that."""

    version: int | None
    decision: Decision


def run_all(rollout: Rollout, asked: StepRequest, interruption: Interruption) -> RunReport:
    """Preflight, load, verify, promote; restores and raises on any failure, also an interruption.

    What an earlier rollout has left, which was killed, is taken back first.
    """
    rollout.tidy(keep=asked.version)
    preflight = rollout.preflight(asked.version)
    chosen = preflight.version

    def perform(name: str, step: Callable[[int], ReportT]) -> ReportT:
        interruption.pause(0)
        log.info("step %s of version %d", name, chosen)
        return step(chosen)

    try:
        load = perform("load", rollout.load)
        verify = perform("verify", rollout.verify)
        promote = perform("promote", lambda version: rollout.promote(version, asked.decision))
    except BaseException:
        # Why is said when the restoring is done, as the last word.
        log.warning("version %d is not rolled out: restoring what was served before", chosen)
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


def _limits(arguments: argparse.Namespace, proofs: Sequence[str]) -> VerifyLimits:
    """The limits of these proofs as the flags say, the others' defaults."""

    def group(name: str) -> dict[str, Any]:
        return {
            field: getattr(arguments, flag.lstrip("-").replace("-", "_"))
            for flag, (of, field, _) in _LIMIT_FLAGS.items()
            if of == name
        }

    return VerifyLimits(**{name: _GROUPS[name](**group(name)) for name in proofs})


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what it does, what its help says, and which flags it takes."""

    summary: str
    perform: Callable[[Rollout, StepRequest, Interruption], StepReport]
    version: str = ""
    """Help of --version; empty when the step takes none."""
    needs_version: bool = False
    loads: bool = False
    proofs: tuple[str, ...] = ()
    """Those of _GROUPS that it runs, whose limits are its flags."""
    changes: bool = True
    needs_files: bool = True
    """Whether it reads the version's files."""
    is_decided: bool = False
    """Whether it changes which version is stable, which somebody decides."""
    examples: tuple[str, ...] = ()
    grace_s: float = GRACE_S
    """From a signal to its end."""


_RESTORE_S = 60.0
"""What `run` has to put the servers back after a signal; a second one ends it at once."""

_CHOSEN = "the model version (default: the newest blessed one)"
_NAMED = "the model version; named, so that all steps of one rollout are about the same one"

STEPS: Mapping[str, Step] = {
    "preflight": Step(
        "Check whether a version may be rolled out: it is blessed, its files are whole, and the model servers answer. "
        "Changes nothing.",
        lambda rollout, asked, _: rollout.preflight(asked.version),
        _CHOSEN,
        changes=False,
        examples=("sniffer rollout preflight", "sniffer rollout preflight --version 7"),
    ),
    "load": Step(
        "Load the version beside what is served, on every model server, and label it canary. Scans do not see it.",
        lambda rollout, asked, _: rollout.load(asked.version or 0),
        _NAMED,
        needs_version=True,
        loads=True,
        proofs=_GOLDEN,
        examples=("sniffer rollout load --version 7",),
    ),
    "verify": Step(
        "Compare the loaded version with the stable one, on every model server: golden scores, latency, and decisions "
        "on images that were scanned last. Without this `promote` refuses it.",
        lambda rollout, asked, _: rollout.verify(asked.version or 0),
        _NAMED,
        needs_version=True,
        proofs=_ALL_PROOFS,
        examples=("sniffer rollout verify --version 7", "sniffer rollout verify --version 7 --max-flips 0.01"),
    ),
    "promote": Step(
        "Make the verified version the stable one, on every model server and then in the database. The version "
        "that was stable stays loaded as the previous one.",
        lambda rollout, asked, _: rollout.promote(asked.version or 0, asked.decision),
        _NAMED,
        needs_version=True,
        proofs=_GOLDEN,
        is_decided=True,
        examples=("sniffer rollout promote --version 7", "sniffer rollout promote --version 7 --approved-by Ana"),
    ),
    "rollback": Step(
        "Make the previous version stable again, on every model server and then in the database. The version that it "
        "replaces becomes the previous one.",
        lambda rollout, asked, _: rollout.rollback(asked.version, asked.decision),
        "the version to go back to (default: the previous one; name it where a retry may come, or a second run swaps "
        "back)",
        loads=True,
        needs_files=False,
        is_decided=True,
        examples=("sniffer rollout rollback --version 6",),
    ),
    "restore": Step(
        "Let the model servers serve again what the database says: undoes a rollout that was not finished.",
        lambda rollout, _asked, _interruption: rollout.restore(),
        loads=True,
        needs_files=False,
        examples=("sniffer rollout restore",),
    ),
    "run": Step(
        "Preflight, load, verify and promote in one go. A failure or an interruption restores what was served before.",
        run_all,
        _CHOSEN,
        loads=True,
        proofs=_ALL_PROOFS,
        is_decided=True,
        examples=("sniffer rollout run", "sniffer rollout run --version 7 --load-limit-s 1800"),
        grace_s=_RESTORE_S,
    ),
}


def _add_arguments(parser: Parser, step: Step) -> None:
    if step.version:
        parser.add_argument(
            "--version", type=model_version, metavar="N", required=step.needs_version, help=step.version
        )
    parser.add_argument("--model-base-path", metavar="DIR|s3://BUCKET/PREFIX", help="default: SNIFFER_MODEL_BASE_PATH")
    parser.add_argument(
        "--target",
        metavar="kubernetes:NAMESPACE/DEPLOYMENT|local:DIR",
        help="default: SNIFFER_ROLLOUT_TARGET; a local target's servers are SNIFFER_SERVING_REPLICAS",
    )
    if step.loads:
        parser.add_argument(
            "--load-limit-s",
            type=seconds,
            metavar="SECONDS",
            help="how long loading may take (default: SNIFFER_ROLLOUT_LOAD_LIMIT_S, else 900)",
        )
    if step.changes:
        parser.add_argument(
            "--force-conflicts",
            action=argparse.BooleanOptionalAction,
            default=False,
            help="take over a field of the target that somebody else has changed by hand",
        )
    if step.is_decided:
        _add_decision(parser)
    if step.proofs:
        _add_limits(parser, step.proofs)


def _add_decision(parser: Parser) -> None:
    group = parser.add_argument_group("who decided, recorded with the change in the database")
    group.add_argument("--requested-by", metavar="NAME", help="who asked for it")
    group.add_argument("--approved-by", metavar="NAME", help="who approved it")
    group.add_argument("--approval-reason", metavar="TEXT", help="why, in the approver's words")


def _decision(arguments: argparse.Namespace) -> Decision:
    return Decision(arguments.requested_by, arguments.approved_by, arguments.approval_reason)


def _add_limits(parser: Parser, proofs: Sequence[str]) -> None:
    group, defaults = parser.add_argument_group("limits of the proofs"), VerifyLimits()
    for flag, (part, field, text) in _LIMIT_FLAGS.items():
        if part in proofs:
            default = getattr(getattr(defaults, part), field)
            parse = count if isinstance(default, int) else amount
            group.add_argument(flag, type=parse, default=default, metavar="N", help=text)


def _run(name: str, arguments: argparse.Namespace) -> ProgramResult:
    target, report = _perform(STEPS[name], arguments)
    return ProgramResult({**_asked(name, arguments), "target": target, **json_values(report), "done": True})


def _failure(name: str, arguments: argparse.Namespace, error: SnifferError) -> dict[str, Any]:
    return {**_asked(name, arguments), "done": False, "error": str(error)}


def _asked(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    return {"step": name, "version": getattr(arguments, "version", None)}


def _perform(step: Step, arguments: argparse.Namespace) -> tuple[str, StepReport]:
    """The description of the target, and what the step reports."""
    settings = rollout_settings(
        target=arguments.target, model_base=arguments.model_base_path, needs_files=step.needs_files
    )
    if step.loads and arguments.load_limit_s is not None:
        settings = dataclasses.replace(settings, load_limit_s=arguments.load_limit_s)
    limits = _limits(arguments, step.proofs)
    asked = StepRequest(getattr(arguments, "version", None), _decision(arguments) if step.is_decided else NOBODY)
    interruption = Interruption()
    interruption.listen()
    target = open_target(settings, force_conflicts=step.changes and arguments.force_conflicts)
    with Database(database_settings()) as database, temporary_folder("sniffer-rollout-") as downloads:
        database.check()
        context = RolloutContext(
            database,
            target,
            settings,
            limits,
            fetch_settings(),
            image_settings(),
            downloads,
            interruption.pause,
        )
        return target.description, step.perform(Rollout(context), asked, interruption)


_ENVIRONMENT = (
    "SNIFFER_DATABASE_URL",
    "SNIFFER_DATABASE_PATIENCE_S",
    "SNIFFER_ROLLOUT_TARGET",
    "SNIFFER_MODEL_BASE_PATH",
    "SNIFFER_SERVING_REPLICAS",
    "KUBECONFIG",
    *S3_ENVIRONMENT,
    "SNIFFER_ROLLOUT_PATIENCE_S",
    "SNIFFER_ROLLOUT_LABEL_LIMIT_S",
    "SNIFFER_ROLLOUT_LOAD_LIMIT_S",
    "SNIFFER_ROLLOUT_STALE_S",
    "SNIFFER_ROLLOUT_PROBLEM_S",
    "SNIFFER_ROLLOUT_POLL_S",
    "SNIFFER_LOG_FORMAT",
)

PROGRAMS: Mapping[str, Program] = {
    name: Program(
        command=f"sniffer rollout {name}",
        summary=step.summary,
        run=partial(_run, name),
        add_arguments=partial(_add_arguments, step=step),
        examples=step.examples,
        environment=_ENVIRONMENT,
        hands_on=True,
        failure=partial(_failure, name),
        grace_s=step.grace_s,
    )
    for name, step in STEPS.items()
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one step, or all. Exit status: 0 done, 1 try again, 2 refused or wrong settings."""
    words = sys.argv[1:] if argv is None else list(argv)
    if words and words[0] in PROGRAMS:
        return PROGRAMS[words[0]].main(words[1:])
    return answer(
        "sniffer rollout",
        {name: step.summary.partition(":")[0].partition(".")[0] for name, step in STEPS.items()},
        words,
        summary="A published version comes into the model servers, step by step.",
    )


if __name__ == "__main__":
    sys.exit(main())
