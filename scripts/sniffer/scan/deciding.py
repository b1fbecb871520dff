"""What `sniffer release` and `sniffer discard` have in common: which scan, who decides, and why."""

from __future__ import annotations

import argparse

from sniffer.core.flag_records import Deciding
from sniffer.core.parser import Parser
from sniffer.scan.request import scan_id

ENVIRONMENT = ("SNIFFER_DATABASE_URL", "SNIFFER_DATABASE_PATIENCE_S", "SNIFFER_LOG_FORMAT")


def add_decision_flags(parser: Parser) -> None:
    """Add the scan's id, and the flags of its decision."""
    parser.add_argument("scan_id", type=scan_id, metavar="SCAN_ID", help="the held scan, as its certificate names it")
    parser.add_argument("--by", required=True, metavar="NAME", help="who decides, for the record")
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why, for the record")


def deciding(arguments: argparse.Namespace) -> Deciding:
    """From the flags; SettingsError for a name or a reason that cannot be kept."""
    return Deciding(arguments.scan_id, arguments.by, arguments.reason)
