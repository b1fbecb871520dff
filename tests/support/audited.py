"""Certified scans of many scored images, and reviewers who know the truth, for the tests of measured recall."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

import numpy as np

from sniffer.adapters.mysql.database import Database
from sniffer.core.key_ranges import ALL_KEYS, KeyRange
from sniffer.core.records import ListedObject, Outcome, Result, ScanRequest
from sniffer.core.review_records import (
    EVERYTHING,
    NO_SECOND_REVIEW,
    NewDecision,
    Reason,
    ReviewDecision,
    SecondReview,
)
from sniffer.core.settings import Budgets
from sniffer.scan.shard_certificates import sum_certificates
from support.ended_scans import certificate_of
from support.stored_rows import WHEN

THRESHOLD = 0.5


def certified_scan(
    database: Database,
    scan_id: str,
    scores: Sequence[float],
    *,
    bucket: str = "bkt",
    flagged: int | None = None,
    key_range: KeyRange = ALL_KEYS,
) -> None:
    """A scan of model version 1 that has scored these images, with a certificate that holds."""
    token = database.scans.open(ScanRequest(scan_id, bucket, key_range=key_range), 1, THRESHOLD)
    results = [
        Result(
            ListedObject(bucket, f"{scan_id}/{number}.jpg", "e1", 123, WHEN),
            Outcome.PREDICTED,
            score,
            hashlib.sha256(f"{bucket}/{scan_id}/{number}".encode()).digest(),
        )
        for number, score in enumerate(scores)
    ]
    database.images.record(results, model_version=1, token=token, decoder_version=1)
    found = sum(score >= THRESHOLD for score in scores) if flagged is None else flagged
    database.scans.close(
        certificate_of(
            {Outcome.PREDICTED: len(scores)},
            scan_id=scan_id,
            bucket=bucket,
            run_number=token.run_number,
            flagged=found,
            flagged_new=found,
            key_range=key_range,
        )
    )


def sharded_scan(database: Database, scan_id: str, *parts: Sequence[float]) -> None:
    """The same in shards: one for each list of scores."""
    ends = [f"{scan_id}/p{number}" for number in range(1, len(parts))]
    ranges = [(KeyRange(after, up_to), 1) for after, up_to in zip(["", *ends], [*ends, None], strict=True)]
    planned = database.shards.plan(ScanRequest(scan_id, "bkt"), 1, THRESHOLD, ranges).parts
    for part, scores in zip(planned, parts, strict=True):
        certified_scan(database, part.scan_id, scores, key_range=part.key_range)
    database.shards.certify(scan_id, lambda asked, done: sum_certificates(asked.scan_id, done, Budgets()))


def spread_scores(count: int, seed: int, prevalence: float = 0.05) -> tuple[list[float], list[bool]]:
    """Scores of a model that tells drugs from others well, and not perfectly; and which ones are drugs."""
    random = np.random.default_rng(seed)
    drugs = random.random(count) < prevalence
    log_odds = random.normal(np.where(drugs, 2.0, -6.0), 2.0)
    return [1 / (1 + math.exp(-value)) for value in log_odds], [bool(one) for one in drugs]


def decide_all(
    database: Database,
    reviewer: str,
    is_drug: Callable[[int], bool],
    *,
    second: SecondReview = NO_SECOND_REVIEW,
    reason: Reason = Reason.CANNABIS,
) -> int:
    """That reviewer decides whatever waits for them, each by the image's number; how many they were."""
    decided = 0
    while items := database.review_queue.page(EVERYTHING, reviewer, 500).items:
        ids = [item.image_id for item in items]
        assert database.review_leases.take(ids, reviewer, 300) == set(ids)
        decisions = [
            NewDecision(one, ReviewDecision.DRUG, reason) if is_drug(one) else NewDecision(one, ReviewDecision.NOT_DRUG)
            for one in ids
        ]
        database.review_decisions.add(decisions, reviewer=reviewer, submit_key=f"{reviewer}-{ids[0]}", second=second)
        decided += len(ids)
    return decided
