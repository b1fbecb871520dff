"""`sniffer certify`: adds up the certificates of a scan's shards to that of the whole."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from sniffer.adapters.mysql.database import Database
from sniffer.core.parser import Parser
from sniffer.core.program import Program, ProgramResult
from sniffer.core.records import Certificate, ScanRequest
from sniffer.core.settings import database_settings, fleet_settings
from sniffer.scan.certificate import describe
from sniffer.scan.request import scan_id
from sniffer.scan.shard_certificates import sum_certificates


def certify_shards(database: Database, whole: str) -> Certificate:
    """The stored certificate of the whole scan: the sum of all parts of its shards.

    IncompleteScan while one of them is not complete, ContractError when they do not fit each other.
    """
    budgets = fleet_settings().budgets

    def add_up(request: ScanRequest, parts: Sequence[Certificate]) -> Certificate:
        return sum_certificates(whole, parts, budgets, whole=request.key_range, allow_empty=request.allow_empty)

    return database.shards.certify(whole, add_up)


def _add_arguments(parser: Parser) -> None:
    parser.add_argument("--scan-id", type=scan_id, required=True, metavar="ID", help="the scan in shards")


def _run_program(arguments: argparse.Namespace) -> ProgramResult:
    with Database(database_settings()) as database:
        database.check()
        certificate = certify_shards(database, arguments.scan_id)
    problem = "" if certificate.holds else f"the certificate does not hold: {'; '.join(certificate.problems)}"
    return ProgramResult(certificate.document(), describe(certificate), 1 if problem else 0, problem)


PROGRAM = Program(
    command="sniffer certify",
    summary="Certify a scan in shards: when each of them is complete, and together they have every key exactly once, "
    "add up their certificates, and keep the sum as that of the whole. Changes nothing else; may be repeated.",
    run=_run_program,
    add_arguments=_add_arguments,
    examples=(
        "sniffer certify --scan-id archive-1",
        "sniffer certify --scan-id archive-1 --json > certificate.json",
    ),
    environment=(
        "SNIFFER_DATABASE_URL",
        "SNIFFER_DATABASE_PATIENCE_S",
        "SNIFFER_ERROR_BUDGET",
        "SNIFFER_GONE_BUDGET",
        "SNIFFER_GONE_WARNING",
        "SNIFFER_UNREADABLE_BUDGET",
        "SNIFFER_UNREADABLE_WARNING",
        "SNIFFER_LOG_FORMAT",
    ),
    hands_on=True,
    has_text=True,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
