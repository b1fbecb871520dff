"""`sniffer labels keep`: copy decided images into a bucket of one's own, before moderation deletes them."""

from __future__ import annotations

import argparse
import sys

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.s3.bucket import Bucket
from sniffer.adapters.s3.locations import open_bucket
from sniffer.core.parser import Parser
from sniffer.core.program import Program, ProgramResult
from sniffer.core.settings import database_settings, fetch_settings, image_settings
from sniffer.core.text import one_line
from sniffer.core.variables import S3_ENVIRONMENT
from sniffer.review.keeping import ImageKeeper, KeepingProgress, KeptReport, keep_missing


def _add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "--to",
        required=True,
        metavar="s3://BUCKET/PREFIX",
        help="where the copies lie, each under the SHA-256 of its bytes; a bucket that is not scanned",
    )


def _run(arguments: argparse.Namespace) -> ProgramResult:
    fetch, limits = fetch_settings(), image_settings()

    def open_it(name: str) -> Bucket:
        return open_bucket(name, fetch, limits.max_bytes)

    keeper = ImageKeeper(arguments.to, open_it, fetch)
    with Database(database_settings()) as database:
        database.check()
        report = keep_missing(database, keeper, KeepingProgress())
    return ProgramResult(report, _told(report, arguments.to))


def _told(report: KeptReport, place: str) -> str:
    lost = ", ".join(f"{count:,} {why}" for why, count in sorted(report.lost.items())) or "none"
    return f"{one_line(place)} has {report.kept:,} more copies; not to be had: {lost}; {report.removed:,} were removed"


PROGRAM = Program(
    command="sniffer labels keep",
    summary="Copy what reviewers have decided into a bucket of your own, so that it can be trained on when moderation "
    "has deleted the objects; `sniffer labels publish` then writes the copies. Only bytes with the SHA-256 that was "
    "decided are copied, once. Copies without a decision, a day after it was taken back, are deleted. It may be run "
    "again at any time. `sniffer review serve` does the same at the moment of each decision, where "
    "SNIFFER_REVIEW_KEEP_TO names such a place. Whether you may keep such images is for your lawyers: see "
    "docs/review.md.",
    run=_run,
    add_arguments=_add_arguments,
    examples=("sniffer labels keep --to s3://my-kept-images/decided",),
    environment=(
        "SNIFFER_DATABASE_URL",
        "SNIFFER_DATABASE_PATIENCE_S",
        *S3_ENVIRONMENT,
        "SNIFFER_MAX_IMAGE_BYTES",
        "SNIFFER_LOG_FORMAT",
    ),
    hands_on=True,
    has_text=True,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
