"""MySQL: the frames of samples, how these were drawn, and what they measured. Every method but walk() is one
transaction; that has one for each page."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, exists, func, select, update
from sqlalchemy.dialects.mysql import insert

from sniffer.adapters.mysql.plan_holds import SCORED, parts_begun
from sniffer.adapters.mysql.review.recall_tables import SHARES, recall_draws, recall_figures
from sniffer.adapters.mysql.review.samples import add_sample
from sniffer.adapters.mysql.schema import predictions, scans, shards, tallies
from sniffer.adapters.mysql.transactions import Transactions, utc_now
from sniffer.core.errors import SettingsError
from sniffer.core.recall_records import (
    ALL,
    DrawPlan,
    FrameDraw,
    KeptDraw,
    MeasuredRecall,
    MeasuredShare,
    RecallFigures,
    RecallFrame,
)

PAGE = 5000


class RecallRepository:
    """Frames, draws and figures."""

    def __init__(self, transactions: Transactions) -> None:
        self._transact = transactions.transact

    def frames(self, since: datetime, model_version: int, threshold: float) -> tuple[RecallFrame, ...]:
        """The complete scans by that version at that threshold that ended since then and were not drawn from, in order.

        Of a scan in shards the whole. Cost: the scans that ended since then, and their tallies.
        """
        drawn = exists().where(recall_draws.c.scan_number == scans.c.number, recall_draws.c.scored.is_not(None))
        query = _whole_scans().where(
            scans.c.finished_at >= since.astimezone(UTC).replace(tzinfo=None),
            scans.c.model_version == model_version,
            scans.c.threshold == threshold,
            scans.c.state == "complete",
            ~drawn,
        )

        def read(connection: Connection) -> tuple[RecallFrame, ...]:
            return tuple(_frame(connection, row) for row in connection.execute(query.order_by(scans.c.number)).all())

        return self._transact(read)

    def frame(self, scan_id: str) -> RecallFrame:
        """That scan; SettingsError when it is not there, is a shard of another, or has no certificate that holds."""

        def read(connection: Connection) -> RecallFrame:
            row = connection.execute(_whole_scans().where(scans.c.scan_id == scan_id)).first()
            if row is None:
                raise SettingsError(f"there is no scan {scan_id}, or it is one shard: name the whole scan")
            if row.state != "complete":
                raise SettingsError(
                    f"scan {scan_id} is {row.state}: a sample is drawn from a scan whose certificate holds; see to "
                    "that first"
                )
            return _frame(connection, row)

        return self._transact(read)

    def walk(self, frame: RecallFrame) -> Iterator[list[tuple[int, float]]]:
        """Every image that the frame has scored, as (image_id, score), in pages of at most PAGE, by an index."""
        for part, outcome in itertools.product(frame.parts, SCORED):
            last = 0
            while rows := self._rows(_page(frame, part, outcome, last)):
                yield [(row.image_id, row.score) for row in rows]
                last = rows[-1].image_id

    def _rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        return self._transact(lambda connection: connection.execute(query).all())

    def keep(self, plan: DrawPlan, draws: Sequence[FrameDraw]) -> tuple[str, ...]:
        """Keep all of it in one transaction: the plan, what was drawn of each frame, and what its scores were.

        The images wait in the queue then. Another draw may have drawn from some of the scans meanwhile: these are
        told, and nothing is kept. What an earlier release was interrupted in is written over.
        """
        numbers = [draw.frame.scan_number for draw in draws]

        def keep(connection: Connection) -> tuple[str, ...]:
            there = select(recall_draws.c.scan_number, recall_draws.c.scored)
            found = connection.execute(there.where(recall_draws.c.scan_number.in_(numbers)).with_for_update()).all()
            begun = {row.scan_number: row.scored is not None for row in found}
            if taken := tuple(draw.frame.scan_id for draw in draws if begun.get(draw.frame.scan_number)):
                return taken
            for draw in draws:
                values = _draw_values(plan, draw)
                ours = recall_draws.c.scan_number == draw.frame.scan_number
                # Two that draw at once: the primary key lets one in, the other's transaction is repeated and sees it.
                is_begun = draw.frame.scan_number in begun
                connection.execute(
                    update(recall_draws).where(ours).values(values) if is_begun else insert(recall_draws).values(values)
                )
                add_sample(connection, draw.sample)
            return ()

        return self._transact(keep)

    def prior_of(self, scan_number: int) -> str | None:
        """By what that scan was drawn from; None when it was not."""
        query = select(recall_draws.c.prior).where(
            recall_draws.c.scan_number == scan_number, recall_draws.c.scored.is_not(None)
        )
        return self._transact(lambda connection: connection.execute(query).scalar())

    def draws(self, since: date, until: date, model_version: int, threshold: float) -> tuple[KeptDraw, ...]:
        """The draws that are done, of the nights from `since` up to and with `until`, in the order of the nights."""
        query = select(recall_draws).where(
            recall_draws.c.night.between(since, until),
            recall_draws.c.model_version == model_version,
            recall_draws.c.threshold == threshold,
            recall_draws.c.scored.is_not(None),
        )
        in_order = query.order_by(recall_draws.c.night, recall_draws.c.scan_number)
        rows = self._transact(lambda connection: connection.execute(in_order).all())
        return tuple(
            KeptDraw(
                row.scan_number,
                row.bucket,
                row.night,
                row.scored,
                row.flagged,
                tuple(row.mean_log_odds),
                tuple(row.histogram),
            )
            for row in rows
        )

    def store(self, measured: Sequence[MeasuredRecall]) -> None:
        """Keep these figures, in the place of those of the same night, version, bucket and slice. Idempotent.

        Together they are what latest() gives: a bucket or slice that an earlier run had, and this one has not, is over.
        """
        now = utc_now()
        rows = [_values(one) | {"measured_at": now} for one in measured]

        def store(connection: Connection) -> None:
            for row in rows:
                connection.execute(insert(recall_figures).values(row).on_duplicate_key_update(row))

        self._transact(store)

    def latest(self, model_version: int | None = None, *, since: date | None = None) -> tuple[MeasuredRecall, ...]:
        """The newest night's figures, of that version or of any, all buckets first; none without any since then."""
        rows = recall_figures.c
        chosen = [
            *([rows.model_version == model_version] if model_version is not None else []),
            *([rows.night >= since] if since is not None else []),
        ]
        # Of two versions in one night, the one that was measured last.
        newest = select(rows.night, rows.model_version, rows.measured_at).where(*chosen)
        newest = newest.order_by(rows.night.desc(), rows.measured_at.desc(), rows.model_version.desc()).limit(1)

        def read(connection: Connection) -> tuple[MeasuredRecall, ...]:
            last = connection.execute(newest).first()
            if last is None:
                return ()
            same = (rows.night == last.night, rows.model_version == last.model_version)
            ours = select(recall_figures).where(*same, rows.measured_at == last.measured_at)
            return tuple(_measured(row) for row in connection.execute(ours.order_by(rows.bucket, rows.slice)).all())

        return self._transact(read)

    def since(self, first: date, most: int) -> tuple[MeasuredRecall, ...]:
        """The figures of all versions since that night, newest first, of a night all buckets and kinds first.

        At most so many. Cost: all figures since then.
        """
        rows = recall_figures.c
        in_order = (rows.night.desc(), rows.model_version.desc(), rows.bucket, rows.slice)
        query = select(recall_figures).where(rows.night >= first).order_by(*in_order).limit(most)
        return tuple(_measured(row) for row in self._transact(lambda connection: connection.execute(query).all()))

    def prevalence(self, now: datetime, most_days: int) -> MeasuredRecall | None:
        """The newest figures of all buckets and kinds, at most so many days old; None without any."""
        found = self.latest(since=now.astimezone(UTC).date() - timedelta(days=most_days))
        return next((one for one in found if (one.bucket, one.slice) == (ALL, ALL)), None)


def _whole_scans() -> Select[Any]:
    columns = (
        scans.c.number,
        scans.c.scan_id,
        scans.c.bucket,
        scans.c.started_at,
        scans.c.model_version,
        scans.c.threshold,
        scans.c.state,
        scans.c.discarded_run,
    )
    return select(*columns).where(~exists().where(shards.c.part_scan_id == scans.c.scan_id))


def _frame(connection: Connection, row: Row[Any]) -> RecallFrame:
    parts = parts_begun(connection, row.number) or [row.number]
    counted = (
        select(func.coalesce(func.sum(tallies.c.images), 0), func.coalesce(func.sum(tallies.c.flagged), 0))
        .join_from(tallies, scans, scans.c.number == tallies.c.scan_number)
        .where(
            tallies.c.scan_number.in_(parts),
            tallies.c.run_number > scans.c.discarded_run,
            tallies.c.outcome.in_(SCORED),
        )
    )
    scored, flagged = connection.execute(counted).one()
    return RecallFrame(
        row.number,
        row.scan_id,
        row.bucket,
        row.started_at.date(),
        row.model_version,
        row.threshold,
        int(scored),
        int(flagged),
        tuple(parts),
    )


def _page(frame: RecallFrame, part: int, outcome: str, after: int) -> Select[Any]:
    ours = select(predictions.c.image_id, predictions.c.score).where(
        predictions.c.model_version == frame.model_version,
        predictions.c.outcome == outcome,
        predictions.c.scan_number == part,
        predictions.c.image_id > after,
    )
    return ours.order_by(predictions.c.image_id).limit(PAGE)


def _draw_values(plan: DrawPlan, draw: FrameDraw) -> dict[str, Any]:
    frame = draw.frame
    return {
        "scan_number": frame.scan_number,
        "night": frame.night,
        "bucket": frame.bucket,
        "model_version": frame.model_version,
        "threshold": frame.threshold,
        "draw_key": plan.key,
        "labels": plan.labels,
        "score_height": plan.height,
        "score_slope": plan.slope,
        "prior": plan.prior,
        "begun_at": utc_now(),
        "scored": frame.scored,
        "flagged": frame.flagged,
        "mean_log_odds": list(draw.mean_log_odds),
        "histogram": list(draw.histogram),
    }


def _values(one: MeasuredRecall) -> dict[str, Any]:
    figures = one.figures
    values: dict[str, Any] = {
        "night": one.night,
        "model_version": one.model_version,
        "bucket": one.bucket,
        "slice": one.slice,
        "threshold": one.threshold,
        "first_night": one.first_night,
        "images": figures.images,
        "flagged": figures.flagged,
        "labels": figures.labels,
        "positives": figures.positives,
        "undecided": one.undecided,
        "disputed": one.disputed,
        "pairs": one.pairs,
        "recall_at_least": figures.recall_at_least,
        "score_height": figures.score_height,
        "score_slope": figures.score_slope,
        "method": one.method,
    }
    for name in SHARES:
        share: MeasuredShare | None = getattr(figures, name)
        for field in ("value", "low", "high", "weighted"):
            values[f"{name}_{field}"] = None if share is None else getattr(share, field)
    return values


def _measured(row: Row[Any]) -> MeasuredRecall:
    shares = {}
    for name in SHARES:
        value, low, high, weighted = (getattr(row, f"{name}_{field}") for field in ("value", "low", "high", "weighted"))
        shares[name] = None if value is None else MeasuredShare(value, low, high, weighted)
    figures = RecallFigures(
        images=row.images,
        flagged=row.flagged,
        labels=row.labels,
        positives=row.positives,
        recall_at_least=row.recall_at_least,
        score_height=row.score_height,
        score_slope=row.score_slope,
        **shares,
    )
    return MeasuredRecall(
        row.night,
        row.first_night,
        row.model_version,
        row.threshold,
        row.bucket,
        row.slice,
        figures,
        row.undecided,
        row.disputed,
        row.pairs,
        row.method,
    )
