"""`sniffer recall measure`: from the decisions about samples to prevalence, recall and precision, with intervals.

In: the samples of the last nights and what reviewers say of them. Out: rows of `recall_figures`, and whether the newest
night of a bucket differs from its past.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import SettingsError
from sniffer.core.model_records import ModelRecord
from sniffer.core.parser import Parser, positive
from sniffer.core.program import Program, ProgramResult
from sniffer.core.recall_records import (
    ALL,
    DriftTest,
    KeptDraw,
    MeasuredRecall,
    RecallReport,
)
from sniffer.core.recall_words import FLAGGED_SHARE, SCORES, drift_in_words, report_in_words
from sniffer.core.settings import database_settings
from sniffer.recall.cells import Cells
from sniffer.recall.drift import ALARM_BELOW, Night, flagged_share, scores
from sniffer.recall.figures import DRAWS, measured
from sniffer.recall.labels import Audit, AuditedDraw, audit, pairs_of
from sniffer.recall.posterior import METHOD, Prior
from sniffer.recall.reviewers import Errors

NIGHTS = 28
FEWEST_LABELS = 30
"""Of a bucket or a kind of drugs with fewer labels no figures are made."""


def measure(database: Database, until: date, nights: int = NIGHTS) -> RecallReport:
    """Measure the stable version at its threshold by the samples of so many nights up to `until`, and keep it.

    Idempotent: randomness is seeded by night and version. Where nothing was drawn or decided yet, the report says so in
    `missing`. Raises SettingsError before the first version is stable.
    """
    stable = database.models.stable()
    if stable is None:
        raise SettingsError("no model version is stable yet: recall is measured of the version in production")
    first = until - timedelta(days=nights - 1)
    kept = database.recall.draws(first, until, stable.version, stable.threshold)
    draws = [
        AuditedDraw(
            draw,
            database.review_samples.strata(draw.night, draw.scan_number),
            database.review_samples.reviewed(draw.night, draw.scan_number),
        )
        for draw in kept
    ]
    found = tuple(_measured(draws, stable, kept[0].night, kept[-1].night)) if kept else ()
    database.recall.store(found)
    drift = tuple(drift_of(kept))
    database.drift.store(drift, stable.version, stable.threshold)
    alarms = tuple(drift_in_words(one) for one in drift if one.is_alarm)
    return RecallReport(stable.version, stable.threshold, found, drift, alarms, _missing(draws, found, first, until))


def _missing(draws: Sequence[AuditedDraw], found: Sequence[MeasuredRecall], first: date, until: date) -> str:
    if found:
        return ""
    if not draws:
        return (
            f"no sample was drawn of the stable version at its threshold from {first} to {until}: run "
            "`sniffer recall draw` after a scan"
        )
    waiting = sum(len(one.samples) for one in draws)
    return (
        f"none of the {waiting:,} images that were drawn has a decision that counts yet: review them "
        "(`sniffer review serve`)"
    )


def _measured(draws: Sequence[AuditedDraw], stable: ModelRecord, first: date, last: date) -> Iterator[MeasuredRecall]:
    """All first, then each bucket, then each kind of drugs."""
    pairs = pairs_of(sample for one in draws for sample in one.samples)
    seed = np.random.default_rng([last.toordinal(), stable.version])
    errors = Errors.drawn(pairs, DRAWS, seed) if pairs.count else Errors.none(DRAWS)

    def figures(seen: Audit, cells: Cells, bucket: str, kind: str) -> MeasuredRecall:
        found = measured(cells, errors, Prior(), seed)
        return MeasuredRecall(
            last,
            first,
            stable.version,
            stable.threshold,
            bucket,
            kind,
            found,
            seen.undecided,
            seen.disputed,
            pairs.count,
            METHOD,
        )

    whole = audit(draws, stable.threshold)
    if not whole.cells.labels.sum():
        return
    yield figures(whole, whole.cells, ALL, ALL)
    by_bucket: dict[str, list[AuditedDraw]] = defaultdict(list)
    for one in draws:
        by_bucket[one.draw.bucket].append(one)
    for bucket in sorted(by_bucket) if len(by_bucket) > 1 else ():
        seen = audit(by_bucket[bucket], stable.threshold)
        if seen.cells.labels.sum() >= FEWEST_LABELS:
            yield figures(seen, seen.cells, bucket, ALL)
    for reason in whole.by_reason:
        yield figures(whole, whole.by_reason[reason], ALL, str(reason))


def drift_of(draws: Sequence[KeptDraw]) -> Iterator[DriftTest]:
    """The newest night of each bucket against those before it; several scans of a night are added up."""
    buckets: dict[str, dict[date, list[KeptDraw]]] = defaultdict(lambda: defaultdict(list))
    for draw in draws:
        buckets[draw.bucket][draw.night].append(draw)
    for bucket, by_night in sorted(buckets.items()):
        nights = [
            Night(
                sum(draw.scored for draw in of_night),
                sum(draw.flagged for draw in of_night),
                tuple(map(sum, zip(*(draw.histogram for draw in of_night), strict=True))),
            )
            for _, of_night in sorted(by_night.items())
        ]
        for kind, found in zip((FLAGGED_SHARE, SCORES), (flagged_share(nights), scores(nights)), strict=True):
            yield DriftTest(
                bucket, max(by_night), kind, found.value, found.usual, found.p_value, ALARM_BELOW, len(nights) - 1
            )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be a date such as 2026-11-20, not {text}") from error


def _add_arguments(parser: Parser) -> None:
    parser.add_argument("--nights", type=positive, default=NIGHTS, metavar="N", help="how many nights count")
    parser.add_argument("--allow-empty", action="store_true", help="that nothing was drawn or decided yet is no error")
    parser.add_argument("--until", type=_day, metavar="DATE", help="the last of them, UTC (default: today)")


def _run(arguments: argparse.Namespace) -> ProgramResult:
    with Database(database_settings()) as database:
        database.check()
        report = measure(database, arguments.until or datetime.now(UTC).date(), arguments.nights)
    if report.missing and not arguments.allow_empty:
        raise SettingsError(report.missing)
    return ProgramResult(report, report_in_words(report))


PROGRAM = Program(
    command="sniffer recall measure",
    summary="Measure the stable version by the samples of the last nights and the reviewers' decisions about them: "
    "prevalence, recall and precision with 95 % intervals, for all, each bucket and each kind of drugs. Tells also "
    "whether the newest night's scores are unlike the past. May be run again: figures of the same night are replaced.",
    run=_run,
    add_arguments=_add_arguments,
    examples=("sniffer recall measure", "sniffer recall measure --nights 90 --until 2026-11-20"),
    environment=("SNIFFER_DATABASE_URL", "SNIFFER_DATABASE_PATIENCE_S", "SNIFFER_LOG_FORMAT"),
    hands_on=True,
    has_text=True,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
