"""Which label bytes get that several decisions are about, under whatever keys. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sniffer.core.review_records import LABEL_OF, DecisionRow, EnteredBy, counting_decision


@dataclass(frozen=True, slots=True)
class DecidedBytes:
    """What was decided about the same bytes: the decision that counts, None while there is none.

    `is_conflict`: some images of them were decided one way and some the other, and a lead has settled none.
    """

    counting: DecisionRow | None
    is_conflict: bool = False


def about_newest_bytes(live: Sequence[DecisionRow]) -> list[DecisionRow]:
    """Of an image whose bytes have changed under its identity: what was decided about those that came last."""
    if not live:
        return []
    newest = max(live, key=lambda row: row.number).content_hash
    return [row for row in live if newest is None or row.content_hash in (None, newest)]


def decided_bytes(images: Sequence[Sequence[DecisionRow]]) -> DecidedBytes:
    """The rule, by the live decisions of each image that has these bytes.

    The newest of a lead's decisions, about whichever of them; else what all images' decisions say, by the newest.
    Images that reviewers disagree on, or are not sure of, say nothing.
    """
    counting = [row for rows in images if (row := counting_decision(rows)) is not None and row.decision in LABEL_OF]
    if appeals := [row for row in counting if row.entered_by is EnteredBy.APPEAL]:
        return DecidedBytes(max(appeals, key=lambda row: row.number))
    if len({row.decision for row in counting}) > 1:
        return DecidedBytes(None, is_conflict=True)
    return DecidedBytes(max(counting, key=lambda row: row.number, default=None))
