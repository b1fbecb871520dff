"""`sniffer estimate`: what the scan of a stored plan would take and cost, kept with the plan."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from sniffer.adapters.mysql.database import Database
from sniffer.backfill.figures import EstimateBasis, estimate_of
from sniffer.backfill.stored_plan import add_plan_flags, count_new, stored_plan
from sniffer.core.errors import SettingsError
from sniffer.core.estimate_words import describe
from sniffer.core.parser import Parser, checked, positive
from sniffer.core.program import Program, ProgramResult
from sniffer.core.rates import Rates
from sniffer.core.settings import database_settings
from sniffer.core.variables import S3_ENVIRONMENT
from sniffer.scan.estimate import basis_of
from sniffer.scan.preflight import resolve_model


def _add_arguments(parser: Parser) -> None:
    add_plan_flags(parser)
    parser.add_argument(
        "--at-a-time", type=positive, default=1, metavar="N", help="so many shards will be scanned at the same time"
    )
    parser.add_argument(
        "--consumers", type=positive, metavar="N", help="so many to a shard (default: as the scan that measured it had)"
    )
    parser.add_argument(
        "--rates",
        metavar="JSON",
        help="your prices: a JSON object, or a file of one (default: examples, which are nobody's contract)",
    )
    parser.add_argument(
        "--growth",
        type=_growth,
        metavar="SHARE",
        help="the plan has to be approved, and no shard is scanned before, or once the bucket has grown by more than "
        "that: 0.05 is 5 %% (default: nobody has to approve, unless the plan says so)",
    )


def _run(arguments: argparse.Namespace) -> ProgramResult:
    rates = _rates(arguments.rates)
    with Database(database_settings()) as database:
        database.check()
        whole = stored_plan(database, arguments.scan_id)
        if arguments.growth is None:
            database.estimates.refuse_unbound(arguments.scan_id)  # now, not after hours of listing
        model = resolve_model(database, whole.model_version)
        measured = basis_of(database.scans.measured(model.version), whole.request.bucket, arguments.consumers)
        began_at = time.monotonic()
        count = count_new(whole, model, arguments.at_once)
        listing_s = time.monotonic() - began_at
        if not count.listed:
            request = whole.request
            raise SettingsError(f"nothing is listed under s3://{request.bucket}/{request.prefix}: check both")
        basis = EstimateBasis(measured, arguments.at_a_time, rates, arguments.growth, listing_s)
        stored = database.estimates.store(estimate_of(whole, count, basis))
    return ProgramResult(stored.estimate, describe(stored.estimate))


def _rates(text: str | None) -> Rates:
    if text is None:
        return Rates()
    if text.lstrip().startswith("{"):
        return Rates.parse(text, "--rates")
    try:
        return Rates.parse(Path(text).read_text("utf-8"), f"the file {text} of --rates")
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"--rates: the file {text!r} cannot be read ({error}): give one, or a JSON object"
        ) from error


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise ValueError(text)
    return share


_growth = checked(_share, "a share from 0 to 1 such as 0.05")


PROGRAM = Program(
    command="sniffer estimate",
    summary="Say what the scan of a stored plan would take and cost: objects, bytes, new images, duplicates, archived "
    "objects, S3 requests, hours, GPU hours, money. Lists every shard, several at once, and looks each object up in "
    "MySQL, so that counts are exact for that time; it fetches nothing. The estimate is kept with the plan, and both "
    "have a digest. With --growth they wait for an approval: `sniffer approve`.",
    run=_run,
    add_arguments=_add_arguments,
    examples=(
        "sniffer plan --bucket archive --scan-id archive-1 --even-one",
        "sniffer estimate --scan-id archive-1 --at-a-time 4",
        "sniffer estimate --scan-id archive-1 --growth 0.05 --rates prices.json",
    ),
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
