"""The scan of one shard of a stored plan: which part comes next, and what exactly it is asked to scan."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import HeldScan, SettingsError
from sniffer.core.records import Certificate, ScanRequest
from sniffer.core.shard_records import HELD, ShardChoice, ShardedScan, ShardPart
from sniffer.scan.growth import GrowthRoom, growth_room


@dataclass(frozen=True, slots=True)
class NextPart:
    """What is left of a shard: its first part that is not complete, as a request, by the plan's model version."""

    request: ScanRequest
    model_version: int
    is_first_start: bool
    """Whether nothing of the whole has run before."""
    room: GrowthRoom | None = None
    """How many objects it may list; None: as many as there are."""


def next_part(database: Database, choice: ShardChoice) -> NextPart | Certificate:
    """What to scan of that shard; the certificate of its last part when nothing is left.

    SettingsError when the scan has no such shard; HeldScan while it is held, or any shard of it: no other begins
    meanwhile. A plan that has to be approved is refused before it is, and when the bucket has grown past what was
    approved.
    """
    whole = database.shards.find(choice.scan_id)
    if whole is None:
        raise SettingsError(
            f"--shard-of {choice.scan_id}: no plan of that scan is stored: `sniffer plan --scan-id {choice.scan_id} …` "
            "makes one"
        )
    parts = [part for part in whole.parts if part.shard == choice.shard]
    if not parts:
        last = max(part.shard for part in whole.parts)
        raise SettingsError(f"--shard {choice.shard}: scan {choice.scan_id} has the shards 1 to {last}")
    _refuse_held(database, whole)
    part = next((part for part in parts if not part.is_complete), parts[-1])
    if part.is_complete and (certificate := database.scans.certificate(part.scan_id)) is not None:
        return certificate
    room = growth_room(whole, database.estimates.find(choice.scan_id), part)
    is_first_start = not any(each.runs for each in whole.parts)
    return NextPart(_request(whole.request, part), whole.model_version, is_first_start, room)


def take_room(database: Database, choice: ShardChoice, part_scan_id: str, listed: int) -> None:
    """Keep that a part which runs has listed so many, more than were estimated there.

    SettingsError when the whole passes what was approved by it, with all that others have kept so, or when another
    estimate is to be approved by now. What is refused takes no room from others.
    """
    stored = database.estimates.find(choice.scan_id)

    def check(whole: ShardedScan) -> None:
        part = next(each for each in whole.parts if each.scan_id == part_scan_id)
        room = growth_room(whole, stored, part)
        if room is not None:
            room.check(listed)

    database.shards.note_listed(choice.scan_id, part_scan_id, listed, check)


def _refuse_held(database: Database, whole: ShardedScan) -> None:
    # Once all are complete, there is nothing that could begin.
    if whole.held_for and whole.left:
        raise HeldScan(whole.request.scan_id, whole.held_for)
    for part in whole.parts:
        if part.state == HELD:
            certificate = database.scans.certificate(part.scan_id)
            raise HeldScan(part.scan_id, certificate.held if certificate else "its certificate is not there any more")


def _request(whole: ScanRequest, part: ShardPart) -> ScanRequest:
    # Whether it is good that nothing was found is asked of the whole: one range may well be empty.
    return replace(whole, scan_id=part.scan_id, key_range=part.key_range, allow_empty=True)
