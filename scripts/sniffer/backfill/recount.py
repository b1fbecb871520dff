"""`sniffer recount`: whether a bucket is still what was approved, and what of its plan is left, in which order."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sniffer.adapters.mysql.database import Database
from sniffer.backfill.stored_plan import add_plan_flags, count_listed, stored_plan
from sniffer.core.errors import SettingsError
from sniffer.core.estimate_records import BackfillEstimate, StoredEstimate
from sniffer.core.parser import Parser
from sniffer.core.program import Program, ProgramResult
from sniffer.core.settings import database_settings
from sniffer.core.shard_records import ShardedScan
from sniffer.core.variables import S3_ENVIRONMENT
from sniffer.scan.commands import PlannedCommand, commands_of
from sniffer.scan.growth import at_least_planned, grown, refuse_unapproved

BY_KEY, BY_KEY_BACKWARDS, OLDEST, NEWEST = "keys", "keys-backwards", "oldest", "newest"


@dataclass(frozen=True, slots=True)
class RecountRecord:
    """What is left, in the order in which it is to be begun, and how many objects were approved and are there now."""

    scan_id: str
    approved: int | None
    listed: int
    left: int
    scans: tuple[PlannedCommand, ...]

    def describe(self) -> str:
        """For a person, as text."""
        approved = "" if self.approved is None else f", {self.approved:,} were approved"
        titles = ", ".join(command.title for command in self.scans[:10]) + ("…" if len(self.scans) > 10 else "")
        left = f"{self.left} shards are left: {titles}" if self.left else "nothing is left"
        return f"scan {self.scan_id}: {self.listed:,} objects{approved}; {left}"


def recount(whole: ShardedScan, stored: StoredEstimate, at_once: int) -> int:
    """How many objects there are now: of complete shards as they were listed. SettingsError for too many."""
    refuse_unapproved(stored)
    left = replace(whole, parts=tuple(part for part in whole.parts if not part.is_complete))
    counted: Counter[int] = Counter()
    for part in whole.parts:
        counted[part.shard] += part.listed if part.is_complete else 0
    if left.parts:
        counted.update({shard: each.objects for shard, each in count_listed(left, at_once).shards.items()})
    refuse_grown(stored.estimate, counted)
    return counted.total()


def refuse_grown(estimate: BackfillEstimate, counted: Mapping[int, int]) -> None:
    """SettingsError when shards with so many objects are more than was approved."""
    most, now = estimate.most_listed, at_least_planned(estimate, counted)
    if most is None or now <= most:
        return
    total = sum(counted.values())
    lost = f", and {now - total:,} of what was estimated are gone" if now > total else ""
    raise SettingsError(f"{total:,} objects{lost}: {grown(estimate)}")


def ordered(whole: ShardedScan, order: str, stored: StoredEstimate | None) -> Sequence[int]:
    """What is left, in that order. By time it is the mean time of a shard's new images, as they were estimated.

    SettingsError for an order by time without an estimate.
    """
    left = list(whole.left)
    if order in (BY_KEY, BY_KEY_BACKWARDS):
        return left if order == BY_KEY else left[::-1]
    if stored is None:
        scan_id = whole.request.scan_id
        raise SettingsError(
            f"--order {order}: when its images were made is not known: `sniffer estimate --scan-id {scan_id}`"
        )
    modified = {one.shard: one.modified for one in stored.estimate.shards}
    sign = 1 if order == OLDEST else -1
    dated = sorted(
        (shard for shard in left if modified.get(shard) is not None), key=lambda n: sign * (modified[n] or 0)
    )
    return [*dated, *(shard for shard in left if modified.get(shard) is None)]


def _add_arguments(parser: Parser) -> None:
    add_plan_flags(parser)
    parser.add_argument(
        "--order",
        choices=(BY_KEY, BY_KEY_BACKWARDS, OLDEST, NEWEST),
        default=BY_KEY,
        help="in which order shards are named: by their keys, or by the mean time of their new images",
    )


def _run(arguments: argparse.Namespace) -> ProgramResult:
    with Database(database_settings()) as database:
        database.check()
        whole = stored_plan(database, arguments.scan_id)
        stored = database.estimates.find(arguments.scan_id)
        is_bound = stored is not None and stored.estimate.growth is not None
        if stored is not None and is_bound:
            listed = recount(whole, stored, arguments.at_once)
        else:
            listed = count_listed(whole, arguments.at_once).listed
        scans = commands_of(whole, ordered(whole, arguments.order, stored))
        approved = stored.estimate.listed if stored is not None and is_bound else None
    record = RecountRecord(arguments.scan_id, approved, listed, len(whole.left), scans)
    return ProgramResult(record, record.describe())


PROGRAM = Program(
    command="sniffer recount",
    summary="List a stored plan again, without looking anything up: refuse when its bucket has grown by more than was "
    "approved, or nobody has approved it; then name the shards that are left, in the order to begin them.",
    run=_run,
    add_arguments=_add_arguments,
    examples=("sniffer recount --scan-id archive-1 --order newest --json",),
    environment=("SNIFFER_DATABASE_URL", "SNIFFER_DATABASE_PATIENCE_S", *S3_ENVIRONMENT, "SNIFFER_LOG_FORMAT"),
    hands_on=True,
    has_text=True,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
