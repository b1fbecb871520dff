"""MySQL: images that were drawn at random, and their way into the queue. Every method is one transaction."""

from __future__ import annotations

from datetime import date

from sqlalchemy import Connection, case, func, insert, select

from sniffer.adapters.mysql.review.decision_rows import decisions_of, live_about
from sniffer.adapters.mysql.review.present import is_decided
from sniffer.adapters.mysql.review.storing_decisions import Facts, put_into_queue
from sniffer.adapters.mysql.review.tables import review_queue, review_sample_strata, review_samples
from sniffer.adapters.mysql.schema import images, models
from sniffer.adapters.mysql.transactions import Transactions, utc_now
from sniffer.core.review_records import EnteredBy
from sniffer.core.sample_records import NightlySample, ReviewedSample, SampledImage, SampleStratum


class ReviewSamples:
    """Samples. A row is never changed."""

    def __init__(self, transactions: Transactions) -> None:
        self._transact = transactions.transact

    def add(self, sample: NightlySample) -> bool:
        """Keep what was drawn of that scan in that night, and let its images wait, unmarked among what is flagged.

        What was decided before does not wait again. False, and nothing is changed, when that night has a sample of that
        scan already: a rerun cannot draw a second time.
        """
        return self._transact(lambda connection: add_sample(connection, sample))

    def strata(self, night: date, scan_number: int) -> list[SampleStratum]:
        """From what that night's sample of that scan was drawn; empty: there is none."""
        columns = review_sample_strata.c
        values = ("stratum", "low", "high", "population", "drawn")
        # A release before migration 0018 that draws beside this one leaves it out: there it is the drawn share.
        probability = func.coalesce(columns.probability, columns.drawn / func.nullif(columns.population, 0))
        chance = case((columns.drawn > 0, probability), else_=columns.probability)
        query = select(*[*(columns[name] for name in values), chance])
        ours = query.where(columns.night == night, columns.scan_number == scan_number).order_by(columns.stratum)
        return [SampleStratum(*row) for row in self._transact(lambda connection: connection.execute(ours).all())]

    def reviewed(self, night: date, scan_number: int) -> list[ReviewedSample]:
        """That night's sample of that scan, each image with its live decisions. Cost: the sample."""
        query = (
            select(review_samples, images.c.bucket, images.c.content_hash)
            .join(images, images.c.image_id == review_samples.c.image_id)
            .where(review_samples.c.night == night, review_samples.c.scan_number == scan_number)
            .order_by(review_samples.c.image_id)
        )

        def read(connection: Connection) -> list[ReviewedSample]:
            rows = connection.execute(query).all()
            decisions = decisions_of(connection, [row.image_id for row in rows])
            return [
                ReviewedSample(
                    SampledImage(row.image_id, row.model_version, row.score, row.stratum, row.probability),
                    row.bucket,
                    live_about(decisions[row.image_id], row.content_hash),
                )
                for row in rows
            ]

        return self._transact(read)


def _let_wait(connection: Connection, sample: NightlySample) -> None:
    ids = [each.image_id for each in sample.images]
    if not ids:
        return
    undecided = select(images.c.image_id, images.c.bucket).where(images.c.image_id.in_(ids), ~is_decided())
    buckets = {row.image_id: row.bucket for row in connection.execute(undecided)}
    there = select(review_queue.c.image_id).where(review_queue.c.image_id.in_(ids))
    waiting = set(connection.execute(there).scalars())
    thresholds = {row[0]: row[1] for row in connection.execute(select(models.c.version, models.c.threshold))}
    for each in sorted(sample.images, key=lambda each: each.image_id):
        if each.image_id in buckets and each.image_id not in waiting:
            threshold = thresholds.get(each.model_version)
            facts = Facts(EnteredBy.SAMPLE, each.model_version, each.score, threshold, each.probability)
            put_into_queue(connection, each.image_id, buckets[each.image_id], facts)


def add_sample(connection: Connection, sample: NightlySample) -> bool:
    """ReviewSamples.add in a transaction of the caller."""
    key = {"night": sample.night, "scan_number": sample.scan_number}
    first = review_sample_strata.c
    ours = (first.night == sample.night, first.scan_number == sample.scan_number)
    if connection.execute(select(first.stratum).where(*ours).limit(1)).first() is not None:
        return False
    # Two that draw at once: the primary key lets one in, the other's transaction is repeated and sees it.
    strata = [
        key
        | {
            "stratum": each.stratum,
            "low": each.low,
            "high": each.high,
            "population": each.population,
            "drawn": each.drawn,
            "probability": each.probability,
        }
        for each in sample.strata
    ]
    connection.execute(insert(review_sample_strata), strata)
    now = utc_now()
    drawn = [
        key
        | {
            "image_id": each.image_id,
            "model_version": each.model_version,
            "score": each.score,
            "stratum": each.stratum,
            "probability": each.probability,
            "drawn_at": now,
        }
        for each in sorted(sample.images, key=lambda each: each.image_id)
    ]
    if drawn:
        connection.execute(insert(review_samples), drawn)
    _let_wait(connection, sample)
    return True
