"""`sniffer certify`: adds up the certificates of a scan's shards to that of the whole."""

from __future__ import annotations

import argparse
import sys

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import HeldScan
from sniffer.core.parser import Parser
from sniffer.core.program import Program, ProgramResult
from sniffer.core.settings import database_settings
from sniffer.scan.certificate import describe
from sniffer.scan.certified_shards import certify_shards
from sniffer.scan.request import scan_id


def _add_arguments(parser: Parser) -> None:
    parser.add_argument("--scan-id", type=scan_id, required=True, metavar="ID", help="the scan in shards")


def _run_program(arguments: argparse.Namespace) -> ProgramResult:
    with Database(database_settings()) as database:
        database.check()
        certificate = certify_shards(database, arguments.scan_id)
    if certificate.is_held:
        held = HeldScan(certificate.scan_id, certificate.held)
        return ProgramResult(certificate.document(), describe(certificate), held.exit_status, str(held))
    problem = "" if certificate.holds else f"the certificate does not hold: {'; '.join(certificate.problems)}"
    return ProgramResult(certificate.document(), describe(certificate), 1 if problem else 0, problem)


PROGRAM = Program(
    command="sniffer certify",
    summary="Certify a scan in shards: when each of them is complete, and together they have every key exactly once, "
    "add up their certificates, and keep the sum as that of the whole, which is held where all shards together have "
    "flagged an unusual share. Changes nothing else; may be repeated.",
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
