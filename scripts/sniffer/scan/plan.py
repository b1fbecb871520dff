"""`sniffer plan`: cuts a bucket or prefix into ranges of keys of about the same size, each for a scan of its own."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace

from sniffer.adapters.s3.locations import open_bucket
from sniffer.core.key_ranges import ALL_KEYS
from sniffer.core.parser import Parser, positive
from sniffer.core.program import Program, ProgramResult
from sniffer.core.settings import fetch_settings, image_settings
from sniffer.core.text import printable
from sniffer.shards.planner import PlannedShard
from sniffer.shards.planning import AT_ONCE, ShardPlan, plan_shards

_DEFAULT_SHARDS = 16


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """One shard: the keys after `after` and up to `up_to` (null: to the last), about so many."""

    after: str
    up_to: str | None
    keys: int


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """A plan as JSON. Its shards tile all keys, whatever is written meanwhile; `keys` are estimates."""

    bucket: str
    prefix: str
    keys: int
    shards: tuple[ShardRecord, ...]
    requests: int
    warning: str = ""

    @classmethod
    def of(cls, bucket: str, prefix: str, plan: ShardPlan) -> PlanRecord:
        """The record of that plan."""
        shards = tuple(ShardRecord(shard.range.after, shard.range.up_to, shard.keys) for shard in plan.shards)
        return cls(bucket, prefix, plan.keys, shards, plan.requests, plan.warning)

    def describe(self) -> str:
        """For a person, as text."""
        lines = [
            f"plan of s3://{self.bucket}/{self.prefix}: about {self.keys} keys in {len(self.shards)} shards, found by "
            f"{self.requests} requests"
        ]
        for number, shard in enumerate(self.shards, 1):
            end = "the last key" if shard.up_to is None else repr(shard.up_to)
            lines.append(f"{number:>5}  about {shard.keys:>12} keys  after {shard.after!r} up to {end}")
        if self.warning:
            lines.append(f"warning: {self.warning}")
        return "\n".join(map(printable, lines))


def _add_arguments(parser: Parser) -> None:
    what = parser.add_argument_group("what to plan")
    what.add_argument("--bucket", required=True, help="the S3 bucket")
    what.add_argument("--prefix", default="", help="only keys that start so")
    what.add_argument("--shards", type=positive, default=_DEFAULT_SHARDS, metavar="N", help="cut it into so many")
    what.add_argument(
        "--at-once", type=positive, default=AT_ONCE, metavar="N", help="so many requests at the same time, at most"
    )


def _run_program(arguments: argparse.Namespace) -> ProgramResult:
    fetch = replace(fetch_settings(), threads=arguments.at_once)
    bucket = open_bucket(arguments.bucket, fetch, image_settings().max_bytes)
    if bucket.is_ordered:
        plan = plan_shards(bucket, arguments.prefix, arguments.shards, arguments.at_once)
    else:
        plan = ShardPlan((PlannedShard(ALL_KEYS, 0),), 0, "a directory bucket lists in no order: it is one shard")
    record = PlanRecord.of(arguments.bucket, arguments.prefix, plan)
    return ProgramResult(record, record.describe())


PROGRAM = Program(
    command="sniffer plan",
    summary="Cut a bucket or prefix into shards: ranges of keys that leave out none and have none twice, of about the "
    "same size. Samples the listing with a few requests to a shard; changes nothing. Scan each with `sniffer scan "
    "--after KEY --up-to KEY`.",
    run=_run_program,
    add_arguments=_add_arguments,
    examples=(
        "sniffer plan --bucket uploads --shards 64",
        "sniffer plan --bucket uploads --prefix 2026/ --shards 12 --json > plan.json",
    ),
    environment=(
        "AWS_*",
        "SNIFFER_ASSUME_ROLE",
        "SNIFFER_ASSUME_ROLE_EXTERNAL_ID",
        "SNIFFER_FETCH_PATIENCE_S",
        "SNIFFER_REQUESTER_PAYS",
        "SNIFFER_LOG_FORMAT",
    ),
    hands_on=True,
    has_text=True,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
