"""MySQL: how decisions are stored, in one transaction: the checks, the rows, the leases and the queue.

The row of an image in `review_leases` is its lock: whoever stores a decision of it, in whatever way, has it first.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select
from sqlalchemy.dialects.mysql import insert as mysql_insert

from sniffer.adapters.mysql.review.decision_rows import decisions_of, live_about
from sniffer.adapters.mysql.review.present import has_newer, server_now
from sniffer.adapters.mysql.review.tables import review_decisions, review_leases, review_queue, review_samples
from sniffer.adapters.mysql.schema import images, models, predictions
from sniffer.adapters.mysql.transactions import naive_utc, utc_now
from sniffer.adapters.mysql.upserts import upsert
from sniffer.core.errors import DecisionRefused
from sniffer.core.review_records import DecisionRow, EnteredBy, NewDecision, ReviewDecision, SecondReview, waits_for

_FREE = datetime(1970, 1, 1)  # noqa: DTZ001 - as MySQL has it
_LOCK_COLUMNS = ("image_id", "reviewer", "lease_until", "entered_by", "model_version", "probability")
_FIRST = (EnteredBy.FLAGGED, EnteredBy.SAMPLE)
_LONGEST_LIST = 10
_LOOKED_AT = 100


@dataclass(frozen=True, slots=True)
class Facts:
    """How an image came up, and what its score was: what a decision keeps beside what the reviewer said."""

    entered_by: EnteredBy
    model_version: int
    score: float | None
    threshold: float | None
    probability: float


@dataclass(frozen=True, slots=True)
class LockedImages:
    """Images whose decisions nobody else can store now: their rows, all their decisions, and who holds them."""

    rows: Mapping[int, Row[Any]]
    decisions: Mapping[int, list[DecisionRow]]
    leases: Mapping[int, Row[Any]]

    def live(self, image_id: int, content_hash: bytes | None) -> list[DecisionRow]:
        """Its live decisions about these bytes, by default those that it has now."""
        return live_about(self.decisions.get(image_id, []), content_hash or self.rows[image_id].content_hash)


def lock_images(connection: Connection, image_ids: Iterable[int]) -> LockedImages:
    """Lock them, in the order of their numbers; an image that is not there has no row."""
    wanted = sorted(set(image_ids))
    query = select(
        images.c.image_id, images.c.identity, images.c.content_hash, images.c.bucket, has_newer().label("is_replaced")
    ).where(images.c.image_id.in_(wanted))
    there = sorted(connection.execute(query.with_only_columns(images.c.image_id)).scalars())
    if there:
        locks = [(image_id, "", _FREE, "", 0, 0.0) for image_id in there]
        upsert(connection, "review_leases", _LOCK_COLUMNS, locks, {"reviewer": "review_leases.reviewer"})
    held = select(review_leases).where(review_leases.c.image_id.in_(there), review_leases.c.lease_until > server_now())
    return LockedImages(
        {row.image_id: row for row in connection.execute(query)},
        decisions_of(connection, there),
        {row.image_id: row for row in connection.execute(held)},
    )


def stored_of(connection: Connection, submit_key: str) -> dict[int, Row[Any]]:
    """What is stored of that submission: its rows by image."""
    query = select(review_decisions).where(review_decisions.c.submit_key == submit_key)
    return {row.image_id: row for row in connection.execute(query)}


def facts_of(locked: LockedImages, new: NewDecision, reviewer: str, *, is_lead: bool) -> Facts:
    """How the image came up, where the reviewer may decide it so; DecisionRefused says why not."""
    image_id = new.image_id
    if image_id not in locked.rows:
        raise DecisionRefused(f"image {image_id} is not there any more: go on with the next")
    rows = locked.decisions.get(image_id, [])
    if new.replaces is not None:
        return _settled(_facts_of_replaced(rows, new, reviewer, is_lead=is_lead), new)
    lease = locked.leases.get(image_id)
    settles = new.is_appeal or (lease is not None and lease.entered_by == EnteredBy.APPEAL)
    # A lead may be one of those who disagree, and settles it all the same.
    if (mine := [row for row in locked.live(image_id, new.content_hash) if row.reviewer == reviewer]) and not (
        settles and mine[-1].entered_by is not EnteredBy.APPEAL
    ):
        raise DecisionRefused(
            f"image {image_id}: {reviewer} has decided it already (decision {mine[-1].number}): correct that one"
        )
    if lease is not None and lease.reviewer != reviewer:
        raise DecisionRefused(f"image {image_id} is open before somebody else: go on with the next")
    if new.is_appeal:
        if not is_lead:
            raise DecisionRefused(f"image {image_id}: only a lead settles what others have decided")
        if not rows:
            raise DecisionRefused(f"image {image_id} was never decided: there is nothing to settle")
        last = rows[-1]
        return Facts(EnteredBy.APPEAL, last.model_version, last.score, last.threshold, last.probability)
    if lease is None:
        raise DecisionRefused(
            f"image {image_id} is not open before {reviewer} any more: its time was over. Open it again; nothing of "
            "this submission was stored"
        )
    if lease.entered_by == EnteredBy.APPEAL and not is_lead:
        raise DecisionRefused(f"image {image_id}: only a lead settles what others have decided")
    found = Facts(EnteredBy(lease.entered_by), lease.model_version, lease.score, lease.threshold, lease.probability)
    return _settled(found, new)


def _settled(facts: Facts, new: NewDecision) -> Facts:
    """The same, unless a lead leaves open what nobody comes after to settle."""
    if facts.entered_by is EnteredBy.APPEAL and new.decision is ReviewDecision.UNSURE:
        raise DecisionRefused(f"image {new.image_id}: a lead settles it as drug or not_drug, or leaves it to another")
    return facts


def _facts_of_replaced(rows: Sequence[DecisionRow], new: NewDecision, reviewer: str, *, is_lead: bool) -> Facts:
    replaced = next((row for row in rows if row.number == new.replaces), None)
    if replaced is None:
        raise DecisionRefused(f"image {new.image_id} has no decision {new.replaces} to correct")
    if not replaced.is_live:
        raise DecisionRefused(
            f"image {new.image_id}: decision {new.replaces} was corrected or taken back already: look at it again"
        )
    if replaced.reviewer != reviewer and not is_lead:
        raise DecisionRefused(
            f"image {new.image_id}: decision {new.replaces} is {replaced.reviewer}'s: a lead may settle it"
        )
    if replaced.entered_by is EnteredBy.APPEAL and not is_lead:
        raise DecisionRefused(f"image {new.image_id}: only a lead corrects what was settled")
    return Facts(replaced.entered_by, replaced.model_version, replaced.score, replaced.threshold, replaced.probability)


def insert_decision(
    connection: Connection,
    locked: LockedImages,
    new: NewDecision,
    facts: Facts,
    reviewer: str,
    submit_key: str,
    *,
    decided_at: datetime | None = None,
) -> None:
    """Add its row. `decided_at`: when it was, if not now, by the server's clock, which all that store share."""
    image = locked.rows[new.image_id]
    values = {
        "image_id": new.image_id,
        "content_hash": new.content_hash or image.content_hash,
        "decision": new.decision,
        "reason": new.reason or "",
        "note": new.note,
        "reviewer": reviewer,
        "decided_at": naive_utc(decided_at) if decided_at else server_now(),
        "model_version": facts.model_version,
        "score": facts.score,
        "threshold": facts.threshold,
        "entered_by": facts.entered_by,
        "probability": facts.probability,
        "batch": new.batch,
        "replaces": new.replaces,
        "was_replaced": bool(image.is_replaced) or new.was_replaced,
        "was_unblurred": new.was_unblurred,
        "submit_key": submit_key,
    }
    connection.execute(insert(review_decisions).values(values))


def end_leases(connection: Connection, image_ids: Sequence[int], reviewer: str) -> None:
    """The reviewer's leases of these images end, and so do those that are over."""
    ours = (review_leases.c.reviewer == reviewer) | (review_leases.c.lease_until <= server_now())
    connection.execute(delete(review_leases).where(review_leases.c.image_id.in_(image_ids), ours))


def queue_again(connection: Connection, locked: LockedImages, image_ids: Iterable[int], second: SecondReview) -> None:
    """Put each of these images where it belongs now: out of the queue, or before whoever is to see it next."""
    wanted = sorted(set(image_ids))
    decisions = decisions_of(connection, wanted)
    drawn = set(
        connection.execute(select(review_samples.c.image_id).where(review_samples.c.image_id.in_(wanted))).scalars()
    )
    for image_id in wanted:
        rows, image = decisions.get(image_id, []), locked.rows[image_id]
        live = live_about(rows, image.content_hash)
        first = [row for row in live if row.entered_by in _FIRST]
        is_chosen = bool(first) and second.includes(image.identity)
        kind = waits_for(live, is_chosen=is_chosen or (image_id in drawn and _is_missed_drug(live)))
        asked = next((row for row in reversed(rows) if row.entered_by in _FIRST), None)
        if kind is EnteredBy.FLAGGED:
            kind = asked.entered_by if asked else EnteredBy.FLAGGED
        last = asked or (rows[-1] if rows else None)
        if kind is None or last is None:
            connection.execute(delete(review_queue).where(review_queue.c.image_id == image_id))
            continue
        put_into_queue(
            connection,
            image_id,
            image.bucket,
            Facts(kind, last.model_version, last.score, last.threshold, last.probability),
            decided_by=live[0].reviewer if kind is EnteredBy.SECOND else "",
        )


def _is_missed_drug(live: Sequence[DecisionRow]) -> bool:
    """Whether an unflagged image is a drug by one word: rare among them, so false alarms outnumber what is missed."""
    if len(live) != 1 or live[0].decision is not ReviewDecision.DRUG:
        return False
    score, threshold = live[0].score, live[0].threshold
    return score is None or threshold is None or score < threshold


def put_into_queue(connection: Connection, image_id: int, bucket: str, facts: Facts, *, decided_by: str = "") -> None:
    """Let it wait, in place of how it waits already. Only what is flagged has its score for its place."""
    is_ranked = facts.entered_by in (EnteredBy.FLAGGED, EnteredBy.APPEAL) and facts.score is not None
    values = {
        "is_for_lead": facts.entered_by is EnteredBy.APPEAL,
        "entered_by": facts.entered_by,
        "decided_by": decided_by,
        "model_version": facts.model_version,
        "place": facts.score if is_ranked else _place_of_another(connection, facts),
        "probability": facts.probability,
        "bucket": bucket,
        "entered_at": utc_now(),
    }
    row = mysql_insert(review_queue).values(image_id=image_id, **values)
    connection.execute(row.on_duplicate_key_update(values))


def _place_of_another(connection: Connection, facts: Facts) -> float:
    """The place of some flagged image, so that nothing in the order tells the two apart.

    One near a number drawn at random: where most flagged images are, most of the others come to be as well.
    """
    ends = connection.execute(select(func.min(review_queue.c.image_id), func.max(review_queue.c.image_id))).one()
    if ends[0] is not None:
        near = (
            select(review_queue.c.place, review_queue.c.entered_by)
            .where(review_queue.c.image_id >= random.randint(*ends))
            .order_by(review_queue.c.image_id)
            .limit(_LOOKED_AT)
        )
        for row in connection.execute(near):
            if row.entered_by == EnteredBy.FLAGGED:
                return float(row.place)
    return random.uniform(facts.threshold or 0.0, 1.0)


def newest_facts(connection: Connection, image_ids: Sequence[int]) -> dict[int, Facts]:
    """Of images that were decided elsewhere: the score of the newest model version that has one."""
    query = (
        select(
            predictions.c.image_id,
            predictions.c.model_version,
            predictions.c.score,
            models.c.threshold,
            review_queue.c.probability,
        )
        .join(models, models.c.version == predictions.c.model_version)
        .join(review_queue, review_queue.c.image_id == predictions.c.image_id, isouter=True)
        .where(predictions.c.image_id.in_(image_ids), predictions.c.score.is_not(None))
        .order_by(predictions.c.model_version)
    )
    return {
        row.image_id: Facts(EnteredBy.IMPORT, row.model_version, row.score, row.threshold, row.probability or 1.0)
        for row in connection.execute(query)
    }


def refused_list(reasons: Sequence[str]) -> str:
    """Several refusals in one line."""
    more = f"; and {len(reasons) - _LONGEST_LIST} more" if len(reasons) > _LONGEST_LIST else ""
    return "; ".join(reasons[:_LONGEST_LIST]) + more
