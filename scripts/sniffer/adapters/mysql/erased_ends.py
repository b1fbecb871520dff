"""MySQL: ends of ranges of keys that name a key which is erased, replaced by ends that do as well.

An end is a key that S3 returned, and any other text between its neighbours cuts the keys as well: the ranges still
tile all keys. What it changes is to which of the two ranges beside it a few keys belong. Where both have been scanned
that is no matter, since only their sum is certified; where one of them is left to be scanned, both are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select, update

from sniffer.adapters.mysql.scans import is_living
from sniffer.adapters.mysql.schema import leases, scans, shards
from sniffer.core.errors import ContractError, TransientError
from sniffer.core.key_ranges import LONGEST_BYTES, key_bytes
from sniffer.core.shard_records import COMPLETE, HELD, RUNNING

Predicate = Callable[[str], bool]
"""Whether a key is to be erased."""

MOVED = "an end of its keys was erased, and another put in its place"
LISTED_AGAIN = f"{MOVED}: the keys are listed again"
_DECIDE = "release it or discard it, then run again"


@dataclass(frozen=True, slots=True)
class ErasedEnds:
    """How many ends of shards were replaced, and how many shards are to be scanned again for it."""

    ends: int = 0
    opened: int = 0

    def __add__(self, other: ErasedEnds) -> ErasedEnds:
        return ErasedEnds(self.ends + other.ends, self.opened + other.opened)


def replace_ends(connection: Connection, number: int, is_erased: Predicate) -> ErasedEnds:
    """Replace the erased ends of the parts of that scan: in its plan, in their scans, and in their certificates.

    Within a transaction that has locked the row of the whole alone, so that no part begins meanwhile. A part that may
    still run though its lease is over is fenced off. TransientError while one of them runs, or is held for itself,
    whose keys nobody may list again before that is decided.
    """
    query = (
        select(shards, scans.c.number, scans.c.state)
        .join_from(shards, scans, scans.c.scan_id == shards.c.part_scan_id, isouter=True)
        .where(shards.c.scan_number == number)
        .order_by(shards.c.after_key)
    )
    parts = connection.execute(query).all()
    moved = dict(_moved([part.after_key.decode() for part in parts], is_erased))
    at = [index for index, part in enumerate(parts) if part.after_key.decode() in moved]
    for part in {parts[index + beside] for index in at for beside in (-1, 0)}:
        if part.state == HELD:
            raise TransientError(f"scan {part.part_scan_id} is held, and an end of its keys is to be erased: {_DECIDE}")
        if part.number is not None and _is_running(connection, part.number):
            raise TransientError(f"scan {part.part_scan_id} runs: wait until it has ended, or stop it, then run again")
    opened = _beside_open([part.state == COMPLETE for part in parts], at)
    for index in opened:
        _open(connection, parts[index].number)
    for part in parts:
        after, up_to = part.after_key.decode(), part.up_to_key and part.up_to_key.decode()
        if after in moved or up_to in moved:
            _move(connection, part, moved.get(after, after), moved.get(up_to, up_to))
    return ErasedEnds(len(moved), len(opened))


def replaced_range(after: str, up_to: str | None, is_erased: Predicate) -> tuple[str, str | None]:
    """The ends of a range that stands for itself, without those that are erased."""
    if is_erased(after):
        after = ""
    if up_to is not None and is_erased(up_to):
        up_to = between(after, None, is_erased)
    return after, up_to


def between(after: str, before: str | None, is_erased: Predicate) -> str:
    """A key after the one and before the other (None: any) that tells of none but these: it may not be erased.

    ContractError where there is none.
    """
    beginnings = [before[:length] for length in range(1, len(before))] if before else []
    candidates: list[str] = [f"{after} ", *beginnings, f"{after}\0"]
    for candidate in candidates:
        encoded = key_bytes(candidate)
        is_after = key_bytes(after) < encoded and len(encoded) <= LONGEST_BYTES
        if is_after and (before is None or encoded < key_bytes(before)) and not is_erased(candidate):
            return candidate
    raise ContractError(
        "an end of a shard is a key that is to be erased, and there is no other key between its neighbours: give the "
        "plan up, wait until nothing of it is needed, and delete its rows in `shards` and `scans`"
    )


def _moved(begins: Sequence[str], is_erased: Predicate) -> Iterator[tuple[str, str]]:
    """Each erased begin of a part, in their order, with what stands for it."""
    reached = ""
    for index, after in enumerate(begins):
        if not after or not is_erased(after):
            reached = after
            continue
        kept = (later for later in begins[index + 1 :] if not is_erased(later))
        new = between(reached, next(kept, None), is_erased)
        yield after, new
        reached = new


def _beside_open(complete: Sequence[bool], at: Sequence[int]) -> list[int]:
    """Which complete parts are to be scanned again, where the parts at these places begin at an erased end.

    Where one of two that such an end is between is left to be scanned, keys of the other may be its from now on: both
    are then, and so on beyond the other's ends.
    """
    is_open = [not one for one in complete]
    while both := [index for index in at if is_open[index - 1] != is_open[index]]:
        for index in both:
            is_open[index - 1] = is_open[index] = True
    return [index for index, one in enumerate(complete) if one and is_open[index]]


def _is_running(connection: Connection, number: int) -> bool:
    query = select(leases.c.scan_number).where(leases.c.scan_number == number, is_living())
    return connection.execute(query).first() is not None


def _open(connection: Connection, number: int) -> None:
    certificate = connection.execute(select(scans.c.certificate).where(scans.c.number == number)).scalar_one()
    said = {"problems": [*certificate.get("problems", ()), LISTED_AGAIN], "holds": False}
    mine = update(scans).where(scans.c.number == number)
    connection.execute(mine.values(state="incomplete", certificate=certificate | said))


def _move(connection: Connection, part: Row[Any], after: str, up_to: str | None) -> None:
    key_range = {"after": after, "up_to": up_to}
    row = {"after_key": after.encode(), "up_to_key": None if up_to is None else up_to.encode()}
    mine = (shards.c.scan_number == part.scan_number, shards.c.shard == part.shard, shards.c.part == part.part)
    connection.execute(update(shards).where(*mine).values(row))
    if part.number is None:
        return
    found = connection.execute(select(scans.c.request, scans.c.certificate).where(scans.c.number == part.number)).one()
    values: dict[str, Any] = {"request": found.request | {"key_range": key_range}}
    if part.state == RUNNING:  # and dead, as far as one can tell
        values["run_number"] = scans.c.run_number + 1
    if found.certificate:
        changes: dict[str, Any] = {"key_range": key_range}
        if found.certificate.get("rest_after") is not None:
            changes["rest_after"] = up_to
        changes["warnings"] = [*found.certificate.get("warnings", ()), MOVED]
        values["certificate"] = found.certificate | changes
    connection.execute(update(scans).where(scans.c.number == part.number).values(values))
