"""`sniffer doctor`: S3, MySQL, the model server, Airflow and Kubernetes are asked what the settings promise."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping

from sniffer.core.errors import SnifferError
from sniffer.core.parser import Parser
from sniffer.core.program import Program, ProgramResult, missing_package
from sniffer.core.variables import AWS_ENVIRONMENT
from sniffer.doctor import checks
from sniffer.doctor.checks import Surroundings
from sniffer.doctor.findings import Finding, any_wrong, describe, diagnosis, not_configured, summary, wrong

Check = Callable[[Surroundings], Iterator[Finding]]

CHECKS: Mapping[str, Check] = {
    checks.S3: checks.check_s3,
    checks.MYSQL: checks.check_mysql,
    checks.SERVING: checks.check_serving,
    checks.AIRFLOW: checks.check_airflow,
    checks.KUBERNETES: checks.check_kubernetes,
}
"""Every check by the system that it asks."""


def examine(around: Surroundings) -> list[Finding]:
    """The findings about every system."""
    return [found for system, check in CHECKS.items() for found in _findings(system, check, around)]


def _findings(system: str, check: Check, around: Surroundings) -> Iterator[Finding]:
    """What the check finds; an error that ends it is one more finding, and no reason to leave out the others."""
    try:
        yield from check(around)
    except SnifferError as error:
        yield wrong(system, str(error))
    except ModuleNotFoundError as error:
        yield not_configured(system, missing_package(error, "fleet"))


def _add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "--bucket", metavar="NAME", help="the S3 bucket to ask for (default: that of SNIFFER_MODEL_BASE_PATH)"
    )


def _run(arguments: argparse.Namespace) -> ProgramResult:
    findings = examine(Surroundings(os.environ, arguments.bucket))
    problem = summary(findings) if any_wrong(findings) else ""
    return ProgramResult(diagnosis(findings), describe(findings), 1 if problem else 0, problem)


PROGRAM = Program(
    command="sniffer doctor",
    summary="Ask S3, MySQL, the model server, Airflow and Kubernetes what the settings promise, and say for each what "
    "is right, what is wrong and what to do about it, and what is not configured. Changes nothing. The exit status is "
    "1 when something is wrong.",
    run=_run,
    add_arguments=_add_arguments,
    examples=("sniffer doctor --bucket uploads", "sniffer doctor --json"),
    environment=(
        *AWS_ENVIRONMENT,
        "SNIFFER_MODEL_BASE_PATH",
        "SNIFFER_DATABASE_URL",
        "SNIFFER_SERVING_URL",
        "SNIFFER_AIRFLOW_URL",
        "SNIFFER_ROLLOUT_TARGET",
        "KUBECONFIG",
        "SNIFFER_LOG_FORMAT",
    ),
    hands_on=True,
    has_text=True,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
