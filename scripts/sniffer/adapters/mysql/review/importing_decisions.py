"""MySQL: how decisions are stored that were made in another program: each for itself, and none that is out of date."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from sniffer.adapters.mysql.review.storing_decisions import (
    LockedImages,
    end_leases,
    insert_decision,
    lock_images,
    newest_facts,
    queue_again,
    stored_of,
)
from sniffer.core.errors import DecisionRefused
from sniffer.core.review_records import (
    DecisionRow,
    EnteredBy,
    ImportedDecision,
    ImportReport,
    NewDecision,
    ReviewDecision,
    SecondReview,
)


def import_decisions(
    connection: Connection,
    decisions: Sequence[ImportedDecision],
    submit_key: str,
    sent_at: datetime | None,
    second: SecondReview,
) -> ImportReport:
    """As ReviewDecisions.add_imported(), of one part in one transaction."""
    locked = lock_images(connection, [each.image_id for each in decisions])
    # What this very submission has stored may have been corrected since. What it could not store is tried again.
    stored = stored_of(connection, submit_key)
    facts = newest_facts(connection, list(locked.rows))
    added: list[int] = []
    unchanged, refused = 0, []
    for each in decisions:
        if each.image_id in stored:
            unchanged += 1
            continue
        try:
            if each.image_id not in facts:
                raise DecisionRefused(f"image {each.image_id} is not there, or has no score")
            mine = _mine(locked, each, sent_at)
        except DecisionRefused as error:
            refused.append(str(error))
            continue
        if mine is not None and (mine.decision, mine.reason) == (each.decision, each.reason):
            unchanged += 1
            continue
        new = NewDecision(
            each.image_id,
            each.decision,
            each.reason,
            each.note,
            replaces=mine.number if mine else None,
            content_hash=each.content_hash,
        )
        insert_decision(connection, locked, new, facts[each.image_id], each.reviewer, submit_key, decided_at=sent_at)
        end_leases(connection, [each.image_id], each.reviewer)
        added.append(each.image_id)
    end_leases(connection, list(locked.rows), "")  # the rows that were made to lock what is not stored
    queue_again(connection, locked, added, second)
    return ImportReport(len(added), unchanged, tuple(refused))


def _mine(locked: LockedImages, each: ImportedDecision, sent_at: datetime | None) -> DecisionRow | None:
    """The same reviewer's live decision of the image, if there is one; DecisionRefused when this one cannot follow."""
    image, lease = locked.rows[each.image_id], locked.leases.get(each.image_id)
    if each.content_hash and image.content_hash and each.content_hash != image.content_hash:
        raise DecisionRefused(f"image {each.image_id}: other bytes were decided than it has now")
    if lease is not None and lease.reviewer != each.reviewer:
        raise DecisionRefused(f"image {each.image_id} is open before {lease.reviewer}: send it again later")
    earlier = [row for row in locked.decisions.get(each.image_id, []) if row.reviewer == each.reviewer]
    if sent_at is not None and any(row.decided_at > sent_at for row in earlier):
        raise DecisionRefused(f"image {each.image_id}: {each.reviewer} has decided it since this was sent")
    live = [row for row in locked.live(each.image_id, each.content_hash) if row.reviewer == each.reviewer]
    if live and live[-1].entered_by is EnteredBy.APPEAL:
        raise DecisionRefused(
            f"image {each.image_id}: {each.reviewer} has settled it as a lead: correct that on the review page"
        )
    if each.decision is ReviewDecision.WITHDRAWN and not live:
        raise DecisionRefused(f"image {each.image_id}: {each.reviewer} has no decision to take back")
    return live[-1] if live else None
