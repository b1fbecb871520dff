"""`sniffer model gate`: may the evaluated candidate replace the stable model?

In: an evaluated workdir, the stable version from `models` and its files from the model base path. Out: verdict.json in
the workdir and a reserved version in `models`, blessed or rejected, with every reason. The exit status is 0 for both.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import SettingsError
from sniffer.core.parser import Parser, count
from sniffer.core.program import Program, ProgramResult
from sniffer.core.settings import database_settings, image_settings
from sniffer.core.text import one_line
from sniffer_model.gate.judge import PREVALENCE_DAYS, GateOptions, judge, read_candidate
from sniffer_model.gate.limits import Limits
from sniffer_model.gate.verdict import Override
from sniffer_model.steps import DATABASE_ENVIRONMENT, add_feature_cache, add_workdir
from sniffer_model.workdir import Workdir

log = logging.getLogger(__name__)

_NO_STABLE = "none"


def _add_arguments(parser: Parser) -> None:
    add_workdir(parser, ", evaluated")
    add_feature_cache(parser)
    parser.add_argument(
        "--model-base-path",
        metavar="DIR|s3://BUCKET/PREFIX",
        help="where the stable model is published, if there is one",
    )
    _add_limits(parser)
    parser.add_argument(
        "--prevalence-days",
        type=count,
        default=PREVALENCE_DAYS,
        metavar="N",
        help="judge by the prevalence that audits have measured (`sniffer recall measure`), where it is at most so "
        "old; 0: by the assumed one",
    )
    parser.add_argument("--override-by", metavar="NAME", help="who blesses the candidate in spite of the gate")
    parser.add_argument("--override-reason", metavar="TEXT", help="why; recorded with the name")
    parser.add_argument(
        "--no-register", action="store_true", help="use no database: reserve no version; needs --stable-version"
    )
    parser.add_argument(
        "--stable-version",
        metavar=f"N|{_NO_STABLE}",
        help=f"with --no-register: the version to compare with, or `{_NO_STABLE}` when there is none yet",
    )


_LIMITS_HELP = {
    "min_pr_auc": "of the test split",
    "min_roc_auc": "of the test split",
    "min_recall": "of the test split at the threshold, by the lower end of its interval",
    "min_nightly_precision": "share of a night's flags that must be right, by the lower end of its interval",
    "max_recall_loss": "against the stable model, each at its threshold, when it is shown",
    "max_precision_loss": "of a night's flags against the stable model, when it is shown",
    "max_slice_loss": "of recall, or gain in false alarms, in one slice, when it is shown",
    "min_slice_images": "of the test split, for a slice to be judged",
    "min_class_images": "of each class in the validation and in the test split, of near-duplicates one each",
    "capacity_tolerance": "by what share the flags may exceed the capacity, by the upper end of their interval",
}


def _add_limits(parser: argparse.ArgumentParser) -> None:
    for field in dataclasses.fields(Limits):
        flag = f"--{field.name.replace('_', '-')}"
        parse = int if field.name in ("min_slice_images", "min_class_images") else float
        parser.add_argument(flag, type=parse, default=field.default, help=_LIMITS_HELP[field.name])


def _run(arguments: argparse.Namespace) -> ProgramResult:
    options = _options(arguments)
    candidate = read_candidate(Workdir(arguments.workdir))
    if arguments.no_register:
        verdict = judge(candidate, options, None)
    else:
        with Database(database_settings()) as database:
            database.check()
            verdict = judge(candidate, options, database)
    by = f" by {verdict.overridden_by} in spite of the gate: {verdict.override_reason}" if verdict.overridden_by else ""
    log.info("%s%s", "blessed" if verdict.blessed else "rejected", by)
    warnings = [check.reason for check in verdict.checks if check.warning]
    for reason in verdict.reasons:
        if reason not in warnings:
            log.info("%s", reason)
    for warning in warnings:
        log.warning("%s", warning)
    return ProgramResult(verdict)


def _options(arguments: argparse.Namespace) -> GateOptions:
    return GateOptions(
        limits=_limits(arguments),
        override=_override(arguments),
        feature_cache=arguments.feature_cache,
        model_base=arguments.model_base_path,
        images=image_settings(),
        stable_version=_stable_version(arguments),
        prevalence_days=arguments.prevalence_days,
    )


def _limits(arguments: argparse.Namespace) -> Limits:
    return Limits(**{field.name: getattr(arguments, field.name) for field in dataclasses.fields(Limits)})


def _override(arguments: argparse.Namespace) -> Override | None:
    if arguments.override_by is None and arguments.override_reason is None:
        return None
    return Override(arguments.override_by or "", arguments.override_reason or "")


_VERSION_DIGITS = 10


def _stable_version(arguments: argparse.Namespace) -> int | None:
    text = arguments.stable_version
    if arguments.no_register != (text is not None):
        raise SettingsError(
            "--no-register and --stable-version belong together: without a database, say what is stable"
        )
    if text in (None, _NO_STABLE):
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= _VERSION_DIGITS):
        raise SettingsError(f"--stable-version must be a number or `{_NO_STABLE}`, not {one_line(repr(text), 40)}")
    return int(text)


PROGRAM = Program(
    command="sniffer model gate",
    summary="Decide whether the evaluated model may replace the stable one: by its own figures, and by those of both "
    "models on the same test split. Reserves a version in the database, blessed or rejected with every reason, and "
    "prints the decision as one JSON line. The exit status is 0 for both.",
    run=_run,
    add_arguments=_add_arguments,
    examples=(
        "sniffer model gate --workdir runs/1 --feature-cache features --model-base-path s3://models/drug_detector",
        "sniffer model gate --workdir runs/1 --feature-cache features --no-register --stable-version none",
    ),
    environment=DATABASE_ENVIRONMENT,
    extra="trainer",
    hands_on=True,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
