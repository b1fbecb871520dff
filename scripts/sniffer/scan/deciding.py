"""What `sniffer release` and `sniffer discard` have in common: which scan, who decides, and why."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from sniffer.core.errors import SettingsError
from sniffer.core.model_records import NAME_CHARS, REASON_CHARS
from sniffer.core.parser import Parser
from sniffer.scan.request import scan_id

ENVIRONMENT = ("SNIFFER_DATABASE_URL", "SNIFFER_DATABASE_PATIENCE_S", "SNIFFER_LOG_FORMAT")


@dataclass(frozen=True, slots=True)
class Deciding:
    """A decision that is to be recorded. Raises SettingsError without a name or a reason, or for one that is too long.

    From Airflow the name is that of the user that it authenticated; at a terminal it is what the person there says.
    """

    scan_id: str
    by: str
    reason: str

    def __post_init__(self) -> None:
        for flag, text, longest in (("--by", self.by, NAME_CHARS), ("--reason", self.reason, REASON_CHARS)):
            if not text.strip():
                raise SettingsError(f"{flag} is needed: it is kept with the decision")
            if len(text) > longest:
                raise SettingsError(f"{flag} has {len(text):,} characters: at most {longest:,} are kept")

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Deciding:
        """From the flags."""
        return cls(arguments.scan_id, arguments.by or "", arguments.reason or "")


def add_decision_flags(parser: Parser) -> None:
    """Add the scan's id, and the flags of its decision."""
    parser.add_argument("scan_id", type=scan_id, metavar="SCAN_ID", help="the held scan, as its certificate names it")
    parser.add_argument("--by", metavar="NAME", help="who decides, for the record")
    parser.add_argument("--reason", metavar="TEXT", help="why, for the record")
