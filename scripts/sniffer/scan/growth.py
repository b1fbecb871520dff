"""How far a bucket may have grown past what a person approved, before and while its shards are listed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sniffer.core.errors import SettingsError
from sniffer.core.estimate_records import BackfillEstimate, StoredEstimate
from sniffer.core.records import ListedObject
from sniffer.core.shard_records import ShardedScan, ShardPart
from sniffer.scan.listing import ListingTally


@dataclass(frozen=True, slots=True)
class GrowthRoom:
    """So many objects one part of a shard may list; with more, the whole would pass what was approved.

    So many `images` of it may be handed out: objects that were deleted make no room for others that must be scored.
    """

    scan_id: str
    objects: int
    images: int
    estimate: BackfillEstimate
    planned: int = 0
    """Of the objects, those that were estimated here: what is beyond is room that all shards share."""

    def check(self, listed: int) -> None:
        """SettingsError when the part has listed more."""
        if listed > self.objects:
            raise SettingsError(grown(self.estimate))

    def kept(
        self,
        pages: Iterator[list[ListedObject]],
        tally: ListingTally,
        take: Callable[[int], None] | None = None,
    ) -> Iterator[list[ListedObject]]:
        """The pages, as long as what they were listed from fits in; nothing of the first page beyond is given.

        `take` is told what was listed, for each page beyond what was estimated here, and refuses what other shards that
        run have left no room for.
        """
        images = 0
        for page in pages:
            self.check(tally.listed)
            if take is not None and tally.listed > self.planned:
                take(tally.listed)
            images += len(page)
            if images > self.images:
                raise SettingsError(_more_to_score(self.estimate, self.images))
            yield page


def growth_room(whole: ShardedScan, stored: StoredEstimate | None, part: ShardPart) -> GrowthRoom | None:
    """What that part may list, when the others have no more than they were estimated to, or have listed.

    None for a plan that nobody has to approve. SettingsError before it is approved, or when nothing may be listed.
    """
    if stored is None or stored.estimate.most_listed is None:
        return None
    refuse_unapproved(stored)
    counted: dict[int, int] = {}
    for each in whole.parts:
        if each.scan_id != part.scan_id:
            counted[each.shard] = counted.get(each.shard, 0) + each.listed
    estimate, ours = stored.estimate, counted.pop(part.shard, 0)
    taken = ours + at_least_planned(estimate, counted, without=part.shard)
    here = [one for one in estimate.shards if one.shard == part.shard]
    room = GrowthRoom(
        whole.request.scan_id,
        stored.estimate.most_listed - taken,
        sum(one.new for one in here) + estimate.room,
        estimate,
        sum(one.objects for one in here) - ours,
    )
    room.check(0)
    return room


def at_least_planned(estimate: BackfillEstimate, counted: Mapping[int, int], without: int | None = None) -> int:
    """Objects of all shards but one: each has what was counted, or as many as were estimated.

    So one that has lost objects makes no room for what came into another.
    """
    return sum(max(each.objects, counted.get(each.shard, 0)) for each in estimate.shards if each.shard != without)


def refuse_unapproved(stored: StoredEstimate) -> None:
    """SettingsError unless somebody has approved that estimate."""
    if stored.approved_at is None:
        estimate = stored.estimate
        raise SettingsError(
            f"nobody has approved the plan of scan {estimate.scan_id} yet: in Airflow answer under Required Actions (a "
            f"task that is marked as successful is no approval), or `sniffer approve {estimate.scan_id} --digest "
            f"{estimate.digest} --by NAME --reason TEXT`"
        )


def grown(estimate: BackfillEstimate) -> str:
    """What to say when the bucket has grown too far."""
    growth = estimate.growth or 0.0
    return (
        f"s3://{estimate.bucket}/{estimate.prefix} has grown by more than {growth:.1%} past the {estimate.listed:,} "
        "objects that were approved: estimate it again and have that approved (in Airflow clear `estimate`, with "
        "everything after it); what has a result costs a look-up only"
    )


def _more_to_score(estimate: BackfillEstimate, images: int) -> str:
    growth = estimate.growth or 0.0
    return (
        f"this shard of s3://{estimate.bucket}/{estimate.prefix} has more images without a result than {images:,}: "
        f"those that were estimated, and a growth of {growth:.1%} of the {estimate.listed:,} objects that were "
        "approved. Objects came while others were deleted, were written anew or restored, or results were deleted: "
        "estimate it again and have that approved (in Airflow clear `estimate`, with everything after it)"
    )
