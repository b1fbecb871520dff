"""The images of a bucket that need an outcome: listed, and looked up in MySQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

from sniffer.adapters.images import DECODER_VERSION
from sniffer.adapters.mysql.database import Database
from sniffer.adapters.s3.bucket import Bucket
from sniffer.core.key_ranges import key_bytes
from sniffer.core.model_records import ModelRecord
from sniffer.core.records import ListedObject, ScanRequest
from sniffer.scan.bounds import ShardBound
from sniffer.scan.listing import EarlierScans, ListingTally, StillInaccessible, images_to_score

Watch = Callable[[list[ListedObject]], None]
"""Is shown each page as it was listed, before what it leaves to do is given."""


def listed_pages(request: ScanRequest, bucket: Bucket) -> Iterator[list[ListedObject]]:
    """The pages of all that the request asks for, in the order of their keys where the bucket has one."""
    # None is the beginning of another: in this order their keys are sorted, and a bound cuts all of them there.
    prefixes = sorted((request.prefix, *request.late_prefixes), key=key_bytes)
    return chain.from_iterable(bucket.pages(prefix, request.key_range) for prefix in prefixes)


def images_to_do(
    request: ScanRequest,
    database: Database,
    model: ModelRecord,
    bucket: Bucket,
    tally: ListingTally,
    bound: ShardBound | None = None,
    watch: Watch | None = None,
) -> Iterator[list[ListedObject]]:
    """For each page what has no result of that model version yet; see images_to_score()."""
    if request.retry_failed:
        pages = database.images.failed_objects(
            request.bucket, request.prefix, model.version, DECODER_VERSION, scan_id=request.scan_id
        )
        if not request.key_range.is_whole:
            pages = ([failed for failed in page if request.key_range.contains(failed.key)] for page in pages)
    else:
        pages = listed_pages(request, bucket)
    only_this_scan = request.scan_id if request.rescan else None

    def settled(identities: list[bytes]) -> dict[bytes, bool]:
        found = database.images.settled(identities, model.version, DECODER_VERSION, scan_id=only_this_scan)
        return {identity: score is not None and score >= model.threshold for identity, score in found.items()}

    still = StillInaccessible(
        lambda identities: database.images.inaccessible(identities, model.version), bucket.inaccessible_code
    )
    earlier = EarlierScans(
        lambda identities: database.images.seen_by_others(identities, request.scan_id),
        database.scans.is_known(request.scan_id),
    )
    return images_to_score(_watched(pages, watch), request, settled, tally, still, earlier, bound)


def _watched(pages: Iterator[list[ListedObject]], watch: Watch | None) -> Iterator[list[ListedObject]]:
    for page in pages:
        if watch is not None:
            watch(page)
        yield page
