"""`sniffer erase`: delete all that MySQL holds of one key, or of all keys with a prefix, and keep a record of it."""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import replace

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.mysql.retention import target_digest
from sniffer.adapters.s3.locations import bucket_of
from sniffer.core.errors import SettingsError
from sniffer.core.parser import Parser, positive
from sniffer.core.program import Program, ProgramResult
from sniffer.core.retention_records import Erasure, Removed
from sniffer.core.settings import FetchSettings, database_settings
from sniffer.core.text import printable
from sniffer.core.variables import S3_ENVIRONMENT
from sniffer.retention.running import refuse_running

log = logging.getLogger(__name__)

_LONGEST_NAME, _LONGEST_REASON = 200, 2000


def erase(
    database: Database,
    bucket: str,
    *,
    key: str | None,
    prefix: str,
    requested_by: str,
    reason: str,
    batch_rows: int = 1000,
) -> Erasure:
    """Record that it begins, delete every row of these keys, their names in certificates and as ends of shards, and
    record what went. Copies of what was decided about them go, too, unless the same bytes were decided under another
    key.

    May be run again, also after an interruption. Raises TransientError while a scan of the bucket runs.
    """
    refuse_running(database.retention.running_scans(bucket=bucket))
    kind, target = ("prefix", prefix) if key is None else ("key", key)
    begun = Erasure(bucket, kind, target_digest(target), requested_by, reason)
    database.retention.record(begun)
    of_copies = database.kept_images.mark_for_erasure(bucket, key, prefix)
    removed = Removed()
    for batch in database.retention.erase(bucket, key, prefix, batch_rows=batch_rows):
        removed += batch
    ends = database.retention.erase_ends(bucket, key, prefix)
    if ends.ends:
        log.info("%d ends of shards were such keys, and are others now", ends.ends)
    if ends.opened:
        log.warning(
            "%d shards beside such an end are to be scanned again: what has a result costs a look-up", ends.opened
        )
    certificates = database.retention.erase_from_certificates(bucket, key, prefix)
    copies = database.kept_images.remove_all(
        database.kept_images.to_remove(of_copies), lambda name: bucket_of(name, FetchSettings(), 1).remove
    )
    ended = replace(begun, removed=removed, certificates=certificates, copies=copies)
    database.retention.record(ended)
    return ended


def _add_arguments(parser: Parser) -> None:
    parser.add_argument("--bucket", required=True, help="the bucket of the keys")
    parser.add_argument("--key", help="erase this key, with every version of the object that was seen")
    parser.add_argument("--prefix", help="erase all keys that start so; '' with --whole-bucket: all of the bucket")
    parser.add_argument("--whole-bucket", action="store_true", help="an empty --prefix is meant")
    parser.add_argument("--requested-by", metavar="NAME", help="who asked for it, for the record")
    parser.add_argument("--reason", help="why, for the record; without any personal data")
    parser.add_argument("--batch-rows", type=positive, default=1000, metavar="N", help="images in one transaction")
    parser.add_argument("--dry-run", action="store_true", help="count what would go, and erase nothing")


def _checked(arguments: argparse.Namespace) -> argparse.Namespace:
    if (arguments.key is None) == (arguments.prefix is None):
        raise SettingsError("say what goes: either --key or --prefix")
    if arguments.key == "":
        raise SettingsError("--key is empty: no object has that key")
    try:
        (arguments.key or arguments.prefix).encode()
    except UnicodeEncodeError as error:
        raise SettingsError("the key or prefix is no UTF-8: MySQL has no such key") from error
    if arguments.whole_bucket != (arguments.prefix == ""):
        raise SettingsError("--whole-bucket and an empty --prefix belong together")
    if not arguments.dry_run:
        for flag, value, longest in (
            ("--requested-by", arguments.requested_by, _LONGEST_NAME),
            ("--reason", arguments.reason, _LONGEST_REASON),
        ):
            if not (value or "").strip():
                raise SettingsError(f"{flag} is needed: it is kept with the record of the erasure")
            if len(value) > longest:
                raise SettingsError(f"{flag} has {len(value):,} characters: at most {longest:,} are kept")
    return arguments


def _run(arguments: argparse.Namespace) -> ProgramResult:
    _checked(arguments)
    what = f"s3://{arguments.bucket}/{printable(arguments.key or arguments.prefix or '')}"
    with Database(database_settings()) as database:
        database.check()
        if arguments.dry_run:
            images = database.retention.count_keys(arguments.bucket, arguments.key, arguments.prefix or "")
            return ProgramResult(Removed(0, images), f"{what}: the rows of {images:,} images would go")
        erasure = erase(
            database,
            arguments.bucket,
            key=arguments.key,
            prefix=arguments.prefix or "",
            requested_by=arguments.requested_by,
            reason=arguments.reason,
            batch_rows=arguments.batch_rows,
        )
    removed = erasure.removed or Removed()
    if erasure.copies:
        log.info("%d copies of decided images are deleted", erasure.copies)
    if not removed.images:
        log.warning("%s: MySQL had no row of it; that it was asked for is recorded", what)
    return ProgramResult(
        erasure,
        f"{what}: erased {removed.images:,} images, {removed.predictions:,} results, and its keys in "
        f"{erasure.certificates or 0:,} certificates; while the object is in the bucket, the next scan sees it again",
    )


PROGRAM = Program(
    command="sniffer erase",
    summary="Delete every row that MySQL holds of a key, or of all keys with a prefix, and these keys from the samples "
    "and messages of the bucket's certificates, and from where its shards end. The table `erasures` keeps who asked, "
    "why, when and how much, and the key's SHA-256 in place of the key. Delete the object from its bucket first, or "
    "the next scan sees it again. Counts in certificates stay. Copies of decided images are deleted from the bucket "
    "of your own that they were kept in, with all their versions. It may be run again, and refuses while a scan of the "
    "bucket runs.",
    run=_run,
    add_arguments=_add_arguments,
    examples=(
        "sniffer erase --bucket uploads --key users/4711/1.jpg --requested-by 'J. Doe' --reason 'ticket 812'",
        "sniffer erase --bucket uploads --prefix users/4711/ --dry-run",
    ),
    environment=("SNIFFER_DATABASE_URL", "SNIFFER_DATABASE_PATIENCE_S", *S3_ENVIRONMENT, "SNIFFER_LOG_FORMAT"),
    hands_on=True,
    has_text=True,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
