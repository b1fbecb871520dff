"""`sniffer prune`: delete old results, and those of model versions that nobody needs any more."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime, timedelta

from sniffer.adapters.mysql.database import Database
from sniffer.core.count_progress import StageProgress
from sniffer.core.errors import SettingsError
from sniffer.core.parser import Parser, amount, model_version, positive
from sniffer.core.program import Program, ProgramResult
from sniffer.core.retention_records import Removed
from sniffer.core.settings import database_settings
from sniffer.retention.running import refuse_running


def prune(
    database: Database,
    *,
    older_than_days: int | None,
    model_versions: list[int],
    batch_rows: int = 1000,
    pause_s: float = 0.0,
    dry_run: bool = False,
) -> Removed:
    """Delete the results that match both rules, as far as given. May be run again, and be interrupted, at any time.

    Raises SettingsError for a version that is not there, for one that a half-done scan in shards has stored results of
    that would go, and without an age for one that is stable or previous; TransientError while a scan writes such
    results.
    """
    if older_than_days is None and not model_versions:
        raise SettingsError("say what may go: --older-than-days, --model-version, or both")
    in_use = database.retention.versions_in_use()
    if older_than_days is None and (needed := sorted(set(model_versions) & set(in_use))):
        named = ", ".join(f"{version} is the {in_use[version]} version" for version in needed)
        raise SettingsError(f"--model-version: {named}; its results go by age only: add --older-than-days")
    if unknown := [str(version) for version in model_versions if database.models.get(version) is None]:
        raise SettingsError(f"--model-version: there is no version {', '.join(unknown)} in the table `models`")
    before = _before(older_than_days)
    for plan in database.shards.half_done(model_versions) if model_versions else ():
        if before is None or before > plan.planned_at:
            raise SettingsError(f"--model-version: {plan}")
    removed = Removed()
    last = database.retention.last_image()
    refuse_running(database.retention.running_scans(model_versions=model_versions))
    with StageProgress("prune", last, unit="images") as progress:
        done = 0
        batches = database.retention.prune(
            scored_before=before, model_versions=model_versions, batch_rows=batch_rows, dry_run=dry_run
        )
        for at, batch in batches:
            removed += batch
            progress.advance(min(at, last) - done)
            done = min(at, last)
            refuse_running(database.retention.running_scans(model_versions=model_versions))
            time.sleep(pause_s if batch.predictions else 0)
    return removed


def _before(older_than_days: int | None) -> datetime | None:
    if older_than_days is None:
        return None
    try:
        return datetime.now(UTC) - timedelta(days=older_than_days)
    except OverflowError as error:
        raise SettingsError(f"--older-than-days: there was no such day {older_than_days:,} days ago") from error


def _add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "--older-than-days", type=positive, metavar="DAYS", help="only results that were stored longer ago than that"
    )
    parser.add_argument(
        "--model-version",
        type=model_version,
        action="append",
        default=[],
        metavar="VERSION",
        help="only results of that version; may be given several times (default: of every version)",
    )
    parser.add_argument(
        "--batch-rows", type=positive, default=1000, metavar="N", help="images that one transaction looks at"
    )
    parser.add_argument(
        "--pause-s", type=amount, default=0.0, metavar="SECONDS", help="rest after each batch that deleted something"
    )
    parser.add_argument("--dry-run", action="store_true", help="count what would go, and delete nothing")


def _run(arguments: argparse.Namespace) -> ProgramResult:
    with Database(database_settings()) as database:
        database.check()
        removed = prune(
            database,
            older_than_days=arguments.older_than_days,
            model_versions=arguments.model_version,
            batch_rows=arguments.batch_rows,
            pause_s=arguments.pause_s,
            dry_run=arguments.dry_run,
        )
    verb = "would go" if arguments.dry_run else "are gone"
    return ProgramResult(
        removed, f"{removed.predictions:,} results, and {removed.images:,} images that had no other, {verb}"
    )


PROGRAM = Program(
    command="sniffer prune",
    summary="Delete results from MySQL: those older than a number of days, those of model versions that are no longer "
    "in use, or those that are both. An image without any result goes, too. Certificates, models and verdicts stay. "
    "An image that is still in its bucket is scored again by the next scan, so let results live longer than your "
    "buckets keep images. It deletes in small batches, may be interrupted and run again, and refuses while a scan "
    "runs.",
    run=_run,
    add_arguments=_add_arguments,
    examples=("sniffer prune --older-than-days 400 --dry-run", "sniffer prune --model-version 3 --model-version 4"),
    environment=("SNIFFER_DATABASE_URL", "SNIFFER_DATABASE_PATIENCE_S", "SNIFFER_LOG_FORMAT"),
    hands_on=True,
    has_text=True,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
