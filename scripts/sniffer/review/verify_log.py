"""`sniffer review verify-log`: whether the review page's log is whole, and if not, which entry is the first wrong one.

A chain shows what was changed, put in or taken out between entries. That its end was cut off it cannot show by itself:
so the head is kept in a row of its own, and every process that adds an entry says the new head in its own log, which
is kept elsewhere. A head from there, given by --head, must be in the chain.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sniffer.adapters.mysql.database import Database
from sniffer.core.parser import Parser, checked
from sniffer.core.program import Program, ProgramResult
from sniffer.core.review_accounts import AuditEntry, LogHead, entry_hash
from sniffer.core.settings import database_settings


@dataclass(frozen=True, slots=True)
class LogVerdict:
    """What was found: `problem` is empty for a whole log; `entry` is the first one that is wrong, or missing."""

    entries: int
    head: str
    problem: str
    entry: int | None


def verify(entries: Iterable[AuditEntry], head: LogHead | None, known: Sequence[LogHead] = ()) -> LogVerdict:
    """Walk the log in the order of its numbers, then compare its end with the head, and heads known from elsewhere."""
    wanted = {one.number: one for one in known}
    end = LogHead()
    for entry in entries:
        number = end.number + 1
        if problem := _wrong(entry, end, wanted.get(entry.number)):
            return LogVerdict(end.number, str(end), problem, min(entry.number, number))
        end = LogHead(entry.number, entry.hash)
    if head is None:
        return LogVerdict(end.number, str(end), "the row that says where the log ends is missing", end.number + 1)
    if head.number > end.number:
        problem = f"the log ends at entry {end.number}, and had {head.number}: its end was cut off"
        return LogVerdict(end.number, str(end), problem, end.number + 1)
    if head != end:
        problem = f"the log goes on to entry {end.number}, but its head is {head}: one of the two was changed"
        return LogVerdict(end.number, str(end), problem, head.number + 1)
    if later := [one for one in known if one.number > end.number]:
        problem = f"a head of entry {later[0].number} is known, and the log ends at {end.number}: its end was cut off"
        return LogVerdict(end.number, str(end), problem, end.number + 1)
    return LogVerdict(end.number, str(end), "", None)


def _wrong(entry: AuditEntry, before: LogHead, known: LogHead | None) -> str:
    """What is wrong with an entry; empty when nothing is."""
    if entry.number != before.number + 1:
        return f"entry {before.number + 1} is missing: the next one is {entry.number}"
    if entry.previous_hash != before.hash:
        return f"entry {entry.number} does not follow the one before it"
    made = entry_hash(
        entry.number, entry.at, entry.who, entry.action, entry.subject, entry.details, entry.previous_hash
    )
    if made != entry.hash:
        return f"entry {entry.number} was changed: its contents do not have its hash"
    if known is not None and known.hash != entry.hash:
        return f"entry {entry.number} is another one than the head that is known of it: the log was written anew"
    return ""


def _add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "--head",
        action="append",
        default=[],
        type=checked(LogHead.parse, "NUMBER:HASH, as the review page's own log says after `head`"),
        metavar="NUMBER:HASH",
        help="a head that is known from elsewhere; may be given several times",
    )


def _run(arguments: argparse.Namespace) -> ProgramResult:
    with Database(database_settings()) as database:
        database.check()
        # Asked for first: what is added meanwhile is beyond it, and is left for the next time.
        head = database.review_log.head()
        entries = (
            entry
            for page in database.review_log.pages()
            for entry in page
            if head is None or entry.number <= head.number or not _is_newer(database, entry)
        )
        verdict = verify(entries, head, arguments.head)
    if verdict.problem:
        return ProgramResult(verdict, f"NOT whole: {verdict.problem}", status=1, problem=verdict.problem)
    return ProgramResult(verdict, f"{verdict.entries:,} entries are whole; head {verdict.head}")


def _is_newer(database: Database, entry: AuditEntry) -> bool:
    """Whether an entry beyond the head that was read was added since then, as the head of now says."""
    now = database.review_log.head()
    return now is not None and now.number >= entry.number


PROGRAM = Program(
    command="sniffer review verify-log",
    summary="Check the log of the review page: that no entry was changed, put in or taken away. It names the first "
    "one that is wrong. That the newest entries were taken away together with the row that says where the log ends is "
    "seen only by a head from elsewhere: each process says it in its own log, which should be kept where the "
    "database's administrators cannot write.",
    run=_run,
    add_arguments=_add_arguments,
    examples=("sniffer review verify-log", f"sniffer review verify-log --head 0:{'00' * 32}"),
    environment=("SNIFFER_DATABASE_URL", "SNIFFER_DATABASE_PATIENCE_S", "SNIFFER_LOG_FORMAT"),
    extra="review",
    has_text=True,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
