"""`sniffer plan`: cuts a bucket or prefix into ranges of keys of about the same size, each for a scan of its own."""

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.s3.bucket import Bucket
from sniffer.adapters.s3.inventory import open_inventory
from sniffer.adapters.s3.locations import open_bucket
from sniffer.core.errors import SettingsError
from sniffer.core.key_ranges import ALL_KEYS
from sniffer.core.parser import Parser, checked, positive
from sniffer.core.program import Program, ProgramResult
from sniffer.core.records import ScanRequest
from sniffer.core.settings import FetchSettings, database_settings, fetch_settings, image_settings, shard_settings
from sniffer.core.shard_records import PLANNED, ShardedScan, ShardPart
from sniffer.core.text import printable
from sniffer.core.variables import S3_ENVIRONMENT
from sniffer.scan.commands import PlannedCommand, commands_of
from sniffer.scan.preflight import resolve_model
from sniffer.scan.request import ScanOptions, add_scan_flags, scan_argv, scan_options
from sniffer.shards.hints import plan_by_hints, sample_keys
from sniffer.shards.planner import PlannedShard
from sniffer.shards.planning import AT_ONCE, ShardPlan, plan_by_size, plan_shards

AUTO = "auto"
MOST_SHARDS = 1000
"""Of one scan: Airflow maps a task over at most 1,024 items."""
IN_ONE_PIECE = "all keys"
_OLD_INVENTORY = timedelta(days=14)
"""AWS writes them daily or weekly."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """One shard: the keys after `after` and up to `up_to` (null: to the last), about so many, and what became of it."""

    name: str
    after: str
    up_to: str | None
    keys: int
    state: str = PLANNED


@dataclass(frozen=True, slots=True)
class _Cutting:
    """How to cut: into so many shards, or by size; so many requests at once; by which report of S3 Inventory."""

    wanted: int | None
    at_once: int
    inventory: str | None


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """A plan as JSON. Its shards tile all keys, whatever is written meanwhile; `keys` are estimates.

    `scans` is what is left to do: a command for each shard that is not complete; when all are, one that certifies them.
    With a `scan_id` the plan is stored, and `left` says how many shards are not complete.
    """

    bucket: str
    prefix: str
    scan_id: str | None
    keys: int
    shards: tuple[ShardRecord, ...]
    scans: tuple[PlannedCommand, ...]
    left: int = 0
    requests: int = 0
    warning: str = ""

    def describe(self) -> str:
        """For a person, as text."""
        found = f", found by {self.requests} requests" if self.requests else ""
        lines = [
            f"plan of s3://{self.bucket}/{self.prefix}: about {self.keys} keys in {len(self.shards)} shards{found}"
        ]
        for shard in self.shards:
            end = "the last key" if shard.up_to is None else repr(shard.up_to)
            state = "" if self.scan_id is None else f"{shard.state:<11}"
            lines.append(f"{shard.name:>6}  {state}about {shard.keys:>12} keys  after {shard.after!r} up to {end}")
        if self.scan_id is not None:
            left = f"{self.left} shards are left" if self.left else "nothing is left"
            lines.append(f"stored as the plan of scan {self.scan_id}: {left}")
        if self.warning:
            lines.append(f"warning: {self.warning}")
        return "\n".join(map(printable, lines))


def _add_arguments(parser: Parser) -> None:
    add_scan_flags(parser)
    cut = parser.add_argument_group("how to cut it")
    cut.add_argument(
        "--shards",
        type=_shards,
        default=AUTO,
        metavar="N",
        help="cut it into so many; `auto` (default): by size, see SNIFFER_SHARD_KEYS",
    )
    cut.add_argument(
        "--inventory",
        metavar="S3_URI",
        help="find where to cut by a report of S3 Inventory (CSV or Parquet), s3://bucket/…/manifest.json, or the "
        "newest in a folder of dated ones, s3://bucket/…/, in place of sampling the listing; it says how many keys "
        "there are, too. What is scanned is always S3's own listing",
    )
    cut.add_argument(
        "--even-one",
        action="store_true",
        help="store the plan also when it has one shard, for `sniffer estimate`; needs --scan-id",
    )
    cut.add_argument(
        "--needs-approval",
        action="store_true",
        help="no shard of the stored plan is scanned before an estimate of it, `sniffer estimate --growth`, is "
        "approved; needs --even-one",
    )
    cut.add_argument(
        "--give-up",
        action="store_true",
        help="nobody waits for what is left of the stored plan --scan-id: its model version may be unloaded and "
        "pruned; scanning a shard of it takes it up again",
    )
    cut.add_argument(
        "--at-once", type=positive, default=AT_ONCE, metavar="N", help="so many requests at the same time, at most"
    )


def _run_program(arguments: argparse.Namespace) -> ProgramResult:
    options = scan_options(arguments)
    wanted = None if arguments.shards == AUTO else int(arguments.shards)
    cutting = _Cutting(wanted, arguments.at_once, arguments.inventory)
    is_one = _is_one_scan(options.request) or options.dry_run or (wanted == 1 and arguments.scan_id is None)
    if cutting.inventory is not None and (is_one or wanted == 1 or arguments.give_up):
        raise SettingsError(
            "--inventory says where to cut a whole listing: leave it out, or --dry-run, --limit, --retry-failed, "
            "--after, --up-to, --give-up and --shards 1"
        )
    if arguments.give_up:
        return _give_up(options.request, arguments.scan_id)
    if arguments.needs_approval and not arguments.even_one:
        raise SettingsError("--needs-approval is of a plan that is stored, whatever its size: give --even-one, too")
    if arguments.even_one:
        _check_even_one(options, arguments.scan_id)
        record = _stored(options, cutting, even_one=True, needs_approval=arguments.needs_approval)
    elif is_one:
        record = _in_one_piece(options, arguments.scan_id)
    elif arguments.scan_id is None:
        record = _not_stored(options, _cut(options.request, cutting))
    else:
        record = _stored(options, cutting)
    return ProgramResult(record, record.describe())


def _give_up(request: ScanRequest, scan_id: str | None) -> ProgramResult:
    if scan_id is None:
        raise SettingsError("--give-up is of a plan that is stored: say which by --scan-id")
    with Database(database_settings()) as database:
        database.check()
        known = database.shards.find(scan_id)
        if known is not None and known.request.bucket != request.bucket:
            raise SettingsError(f"scan {scan_id} is of the bucket {known.request.bucket}, not {request.bucket}")
        database.shards.give_up(scan_id)
        record = _record_of(known) if known is not None else None
    return ProgramResult(record, f"scan {scan_id} is given up: nothing waits for what is left of it")


def _check_even_one(options: ScanOptions, scan_id: str | None) -> None:
    if scan_id is None or options.dry_run or _is_one_scan(options.request):
        raise SettingsError(
            "--even-one stores the plan of a whole listing: give it --scan-id, and leave out --dry-run, --limit, "
            "--retry-failed, --after and --up-to"
        )


def _is_one_scan(request: ScanRequest) -> bool:
    """Whether what is asked is no whole listing, which could be cut."""
    return request.retry_failed or request.limit is not None or not request.key_range.is_whole


def _cut(request: ScanRequest, cutting: _Cutting) -> ShardPlan:
    fetch = replace(fetch_settings(), threads=cutting.at_once)
    bucket: Bucket = open_bucket(request.bucket, fetch, image_settings().max_bytes)
    if not bucket.is_ordered:
        return ShardPlan((PlannedShard(ALL_KEYS, 0),), 0, "a directory bucket lists in no order: it is one shard")
    if cutting.inventory is not None:
        return _cut_by_inventory(bucket, request.prefix, cutting, cutting.inventory, fetch)
    return _cut_by_samples(bucket, request.prefix, cutting)


def _cut_by_samples(bucket: Bucket, prefix: str, cutting: _Cutting) -> ShardPlan:
    if cutting.wanted is None:
        return plan_by_size(bucket, prefix, shard_settings().keys, MOST_SHARDS, cutting.at_once)
    return plan_shards(bucket, prefix, cutting.wanted, cutting.at_once)


def _cut_by_inventory(bucket: Bucket, prefix: str, cutting: _Cutting, location: str, fetch: FetchSettings) -> ShardPlan:
    inventory = open_inventory(location, bucket.name, fetch)
    hints = sample_keys(inventory.keys(prefix))
    if hints.keys:
        wanted = cutting.wanted or min(MOST_SHARDS, math.ceil(hints.stand_for / shard_settings().keys))
        plan = plan_by_hints(bucket, prefix, hints, wanted, cutting.at_once)
        warnings = [plan.warning] if plan.warning else []
    else:
        # As with the prefix of a day that is younger than the newest report.
        plan = _cut_by_samples(bucket, prefix, cutting)
        warnings = [f"{inventory.location} lists no key under {prefix!r}: it was cut by samples of the listing"]
        warnings += [plan.warning] if plan.warning else []
    age = datetime.now(UTC) - inventory.created
    if age > _OLD_INVENTORY:
        warnings.append(
            f"the inventory is {age.days} days old ({inventory.created.date().isoformat()}): shards with keys that "
            "came since are larger than planned"
        )
    return replace(plan, requests=plan.requests + inventory.requests, warning="; ".join(warnings))


def _in_one_piece(options: ScanOptions, scan_id: str | None, plan: ShardPlan | None = None) -> PlanRecord:
    """One scan, as it is without a plan; nothing is stored."""
    plan = plan or ShardPlan((PlannedShard(options.request.key_range, 0),), 0)
    record = _not_stored(options, plan)
    words = scan_argv(options if scan_id else _without_id(options))
    return replace(record, scans=(PlannedCommand(IN_ONE_PIECE, tuple(words)),))


def _not_stored(options: ScanOptions, plan: ShardPlan) -> PlanRecord:
    without_id = _without_id(options)
    shards, scans = [], []
    for number, shard in enumerate(plan.shards, 1):
        shards.append(ShardRecord(str(number), shard.range.after, shard.range.up_to, shard.keys))
        one = replace(without_id, request=replace(without_id.request, key_range=shard.range))
        scans.append(PlannedCommand(str(number), tuple(scan_argv(one))))
    request = options.request
    return PlanRecord(
        bucket=request.bucket,
        prefix=request.prefix,
        scan_id=None,
        keys=plan.keys,
        shards=tuple(shards),
        scans=tuple(scans),
        left=len(scans),
        requests=plan.requests,
        warning=plan.warning,
    )


def _without_id(options: ScanOptions) -> ScanOptions:
    return replace(options, request=replace(options.request, scan_id=""))


def _stored(
    options: ScanOptions, cutting: _Cutting, *, even_one: bool = False, needs_approval: bool = False
) -> PlanRecord:
    """The plan as it is stored, which is made when there is none, and stays as it is when there is one."""
    request = options.request
    with Database(database_settings()) as database:
        database.check()
        known = database.shards.find(request.scan_id)
        if known is None and database.scans.is_known(request.scan_id):
            if even_one:
                raise SettingsError(f"scan {request.scan_id} was begun in one piece, without a plan: give another id")
            log.info("scan %s was begun in one piece: it goes on so", request.scan_id)
            return _in_one_piece(options, request.scan_id)
        if known is not None:
            _check_same(known, options)
            if needs_approval:
                database.estimates.require_approval(request.scan_id)
            return _record_of(known)
        if cutting.wanted == 1 and not even_one:
            return _in_one_piece(options, request.scan_id)
        model = resolve_model(database, options.model_version)
        plan = _cut(request, cutting)
        if len(plan.shards) == 1 and not even_one:
            return _in_one_piece(options, request.scan_id, plan)
        ranges = [(shard.range, shard.keys) for shard in plan.shards]
        known = database.shards.plan(request, model.version, model.threshold, ranges, needs_approval=needs_approval)
    _check_same(known, options)
    return replace(_record_of(known), requests=plan.requests, warning=plan.warning)


def _check_same(known: ShardedScan, options: ScanOptions) -> None:
    """SettingsError when the stored plan is of another scan than is asked for."""
    request = options.request
    names = [field.name for field in fields(ScanRequest) if field.name != "dag_run"]
    different = [name for name in names if getattr(known.request, name) != getattr(request, name)]
    if options.model_version not in (None, known.model_version):
        different.append("model_version")
    if different:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in different)
        raise SettingsError(
            f"scan {request.scan_id} was planned with other values of {flags}: give the same, or another --scan-id"
        )


def _record_of(known: ShardedScan) -> PlanRecord:
    request = known.request
    return PlanRecord(
        bucket=request.bucket,
        prefix=request.prefix,
        scan_id=request.scan_id,
        keys=sum(part.keys for part in known.parts),
        shards=tuple(map(_shard_record, known.parts)),
        scans=commands_of(known, known.left),
        left=len(known.left),
        warning=f"it is held, and nothing of it begins: {known.held_for}" if known.held_for else "",
    )


def _shard_record(part: ShardPart) -> ShardRecord:
    name = str(part.shard) if part.part == 1 else f"{part.shard}-{part.part}"
    return ShardRecord(name, part.key_range.after, part.key_range.up_to, part.keys, part.state)


def _shard_count(text: str) -> str:
    if text != AUTO and not 1 <= int(text) <= MOST_SHARDS:
        raise ValueError(text)
    return text


_shards = checked(_shard_count, f"{AUTO}, or 1 to {MOST_SHARDS}")


PROGRAM = Program(
    command="sniffer plan",
    summary="Cut a bucket or prefix into shards: ranges of keys that leave out none and have none twice, of about the "
    "same size. Samples the listing with a few requests to a shard. With --scan-id the plan is stored: scan each shard "
    "with `sniffer scan --shard-of ID --shard N`, on any machine, and end with `sniffer certify`. The same command "
    "again shows what is left. Without it nothing is changed.",
    run=_run_program,
    add_arguments=_add_arguments,
    examples=(
        "sniffer plan --bucket uploads --shards 64",
        "sniffer plan --bucket uploads --scan-id uploads-1         # as many shards as it needs, stored",
        "sniffer plan --bucket uploads --prefix 2026/ --shards 12 --json > plan.json",
        "sniffer plan --bucket uploads --scan-id uploads-1 --inventory s3://reports/uploads/daily/2026-11-26T01-00Z/manifest.json",
    ),
    environment=(
        "SNIFFER_DATABASE_URL",
        "SNIFFER_DATABASE_PATIENCE_S",
        *S3_ENVIRONMENT,
        "SNIFFER_SHARD_KEYS",
        "SNIFFER_LOG_FORMAT",
    ),
    hands_on=True,
    has_text=True,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program. Exit status: 0 planned, 1 S3 or MySQL was away, 2 wrong usage or settings."""
    return PROGRAM.main(argv)


if __name__ == "__main__":
    sys.exit(main())
