"""What the programs of a backfill have in common: the stored plan, its bucket, and how its shards are looked at."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.s3.bucket import Bucket
from sniffer.adapters.s3.locations import bucket_of
from sniffer.backfill.counting import BucketCount, Look, Pages, count_bucket
from sniffer.core.count_progress import StageProgress
from sniffer.core.errors import SettingsError
from sniffer.core.model_records import ModelRecord
from sniffer.core.parser import Parser, positive
from sniffer.core.records import ListedObject, ScanRequest
from sniffer.core.settings import database_settings, fetch_settings, image_settings
from sniffer.core.shard_records import ShardedScan
from sniffer.scan.listing import ListingTally, images_to_score
from sniffer.scan.lookup import images_to_do, listed_pages
from sniffer.scan.request import scan_id

_AT_ONCE = 8


def add_plan_flags(parser: Parser) -> None:
    """Add the flags that name a stored plan, and say how quickly it is listed."""
    parser.add_argument(
        "--scan-id", type=scan_id, required=True, metavar="ID", help="the scan that `sniffer plan` has stored a plan of"
    )
    parser.add_argument(
        "--at-once", type=positive, default=_AT_ONCE, metavar="N", help="list so many shards at the same time, at most"
    )


def stored_plan(database: Database, scan_id: str) -> ShardedScan:
    """The stored plan; SettingsError without one."""
    whole = database.shards.find(scan_id)
    if whole is None:
        raise SettingsError(
            f"--scan-id {scan_id}: no plan of that scan is stored: `sniffer plan --even-one --scan-id {scan_id} "
            "--bucket …` makes one"
        )
    return whole


def count_new(whole: ShardedScan, model: ModelRecord, at_once: int) -> BucketCount:
    """List the plan's shards, and look up in MySQL what of them has a result."""
    bucket = _checked_bucket(whole.request, at_once)
    with ExitStack() as open_until_the_end:

        def look() -> Look:
            database = open_until_the_end.enter_context(Database(database_settings()))

            def look_up(
                request: ScanRequest, tally: ListingTally, watch: Callable[[list[ListedObject]], None]
            ) -> Pages:
                return images_to_do(request, database, model, bucket, tally, watch=watch)

            return look_up

        return _count(whole, look, at_once)


def count_listed(whole: ShardedScan, at_once: int) -> BucketCount:
    """List the plan's shards, and ask nobody about them."""
    bucket = _checked_bucket(whole.request, at_once)

    def look_at(request: ScanRequest, tally: ListingTally, watch: Callable[[list[ListedObject]], None]) -> Pages:
        def shown() -> Pages:
            for page in listed_pages(request, bucket):
                watch(page)
                yield page

        return images_to_score(shown(), request, lambda identities: dict.fromkeys(identities, False), tally)

    return _count(whole, lambda: look_at, at_once)


def _count(whole: ShardedScan, look: Callable[[], Look], at_once: int) -> BucketCount:
    planned = sum(part.keys for part in whole.parts)
    with StageProgress("list", planned, unit="objects") as progress:
        return count_bucket(whole, look, image_settings().max_bytes, at_once, progress)


def _checked_bucket(request: ScanRequest, at_once: int) -> Bucket:
    bucket = bucket_of(request.bucket, replace(fetch_settings(), threads=at_once), image_settings().max_bytes)
    bucket.check(request.prefix)
    return bucket
