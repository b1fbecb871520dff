"""Audits of many buckets over many nights, each night drawn from as one frame; the truth is known."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np

from sniffer.core.recall_records import KeptDraw
from sniffer.core.review_records import DecisionRow, EnteredBy, ReviewDecision
from sniffer.core.sample_records import ReviewedSample, SampledImage, SampleStratum
from sniffer.recall.allocation import allocation, expected_shares
from sniffer.recall.cells import Counts, Flags
from sniffer.recall.gamma import Values
from sniffer.recall.labels import AuditedDraw, audit
from sniffer.recall.reviewers import Errors
from support.simulated_audits import DRAWS, Audits, Row, World, interval_row

NIGHTS, LABELS = 5, 800
THRESHOLD = 0.5
_FIRST_NIGHT = datetime(2026, 11, 1, tzinfo=UTC)


def simulate_nights(buckets: int, audits: int, seed: int) -> tuple[Audits, Audits]:
    """Audits of all buckets together, and of the largest one on its own, by LABELS images of each of NIGHTS nights.

    Of these buckets the first has as many images as all others; each has a prevalence of its own around 0.001, and each
    night a share of its images, so that no two nights are drawn from with the same chances.
    """
    random = np.random.default_rng(seed)
    rows = [_audit(buckets, random) for _ in range(audits)]
    whole, largest = (Audits.of([row[place] for row in rows], NIGHTS * LABELS) for place in range(2))
    return whole, largest


def _audit(buckets: int, random: np.random.Generator) -> tuple[Row, Row]:
    images, shares, log_odds, flagged = World(1e-3, images=2_000_000).strata()
    odds = shares / (1 - shares) * np.exp(random.normal(0, 0.5, (buckets, 1)))
    sizes = np.full((buckets, 1), 0.5 / (buckets - 1))
    sizes[0] = 0.5
    draws: list[list[AuditedDraw]] = []
    drugs = np.zeros((buckets, len(images)), dtype=np.int64)
    for night in range(NIGHTS):
        population = random.binomial(images, sizes * random.uniform(0.3, 1))
        of_night = random.binomial(population, odds / (1 + odds))
        together = population.sum(axis=0)
        counts = allocation(together, expected_shares(log_odds, math.log(1e-3), 1.0), flagged, LABELS)
        seen = np.stack(
            [
                random.multivariate_hypergeometric(of, int(count))
                for of, count in zip(population.T, counts, strict=True)
            ],
            axis=1,
        )
        found = random.hypergeometric(of_night, population - of_night, seen)
        chances = counts / np.maximum(together, 1)
        of_buckets = zip(population, seen, found, strict=True)
        draws.append([_draw(night, log_odds, flagged, chances, *each) for each in of_buckets])
        drugs += of_night
    every = [draw for of_night in draws for draw in of_night]
    return (
        _row(every, drugs.sum(axis=0), flagged, random),
        _row([of_night[0] for of_night in draws], drugs[0], flagged, random),
    )


def _row(draws: list[AuditedDraw], drugs: Counts, flagged: Flags, random: np.random.Generator) -> Row:
    cells = audit(draws, THRESHOLD).cells
    return interval_row(cells, Errors.none(DRAWS), int(drugs[flagged].sum()), int(drugs.sum()), random)


def _draw(
    night: int, log_odds: Values, flagged: Flags, chances: Values, population: Counts, seen: Counts, found: Counts
) -> AuditedDraw:
    """Of one bucket in one night."""
    when = (_FIRST_NIGHT + timedelta(days=night)).date()
    images = int(population.sum())
    kept = KeptDraw(night, "bkt", when, images, int(population[flagged].sum()), tuple(log_odds.tolist()), ())
    strata = [
        SampleStratum(number, THRESHOLD if flagged[number] else 0.0, 1.0, int(there), int(drawn), float(chance))
        for number, (there, drawn, chance) in enumerate(zip(population, seen, chances, strict=True))
    ]
    samples = [
        ReviewedSample(SampledImage(1, 1, 0.1, number, float(chances[number])), "bkt", _DRUG if one < drugs else _NONE)
        for number, (drawn, drugs) in enumerate(zip(seen, found, strict=True))
        for one in range(drawn)
    ]
    return AuditedDraw(kept, strata, samples)


def decided(decision: ReviewDecision, reviewer: str, number: int = 1) -> DecisionRow:
    """A live decision of an image of a sample."""
    return DecisionRow(
        number=number,
        image_id=1,
        content_hash=None,
        decision=decision,
        reason=None,
        note="",
        reviewer=reviewer,
        decided_at=_FIRST_NIGHT,
        model_version=1,
        score=0.1,
        threshold=THRESHOLD,
        entered_by=EnteredBy.SAMPLE,
        probability=0.1,
        batch="",
        replaces=None,
        was_replaced=False,
        was_unblurred=False,
        is_live=True,
    )


_DRUG = [decided(ReviewDecision.DRUG, name) for name in ("ann", "bob")]
_NONE = [decided(ReviewDecision.NOT_DRUG, name) for name in ("ann", "bob")]
