"""The gate judges a night by the prevalence that audits have measured, and says where it came from."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime, timedelta

import pytest
from support.judged import model_metrics

from sniffer.adapters.mysql.database import Database
from sniffer.core.model_metrics import Confusion
from sniffer.core.recall_records import MeasuredRecall, MeasuredShare, RecallFigures
from sniffer_model.gate.night import judged_night
from sniffer_model.statistics.review_load import ReviewPlan

PLAN = ReviewPlan(prevalence=0.01, nightly_volume=100_000)
SHARE = MeasuredShare(0.002, 0.001, 0.003, 0.0021)
METRICS = dataclasses.replace(
    model_metrics(), test=dataclasses.replace(model_metrics().test, confusion=Confusion(900, 10, 100, 9990))
)


def measured(night: date, share: MeasuredShare | None = SHARE, version: int = 1) -> MeasuredRecall:
    figures = RecallFigures(1_000_000, 5000, 4000, 60, share, None, None, 0.3, -6.0, 1.0)
    return MeasuredRecall(night, night - timedelta(days=27), version, 0.5, "", "", figures, 3, 1, 200, "m")


def test_without_an_audit_the_night_is_the_assumed_one() -> None:
    night = judged_night(METRICS, PLAN, None)
    assert (night.plan, night.precision, night.flags) == (
        PLAN,
        METRICS.test.night.precision,
        METRICS.test.night.flags_per_night,
    )
    assert "is assumed, 0.01: no audit has measured it lately" in night.prevalence_from
    assert judged_night(METRICS, PLAN, measured(date(2026, 11, 20), None)).plan == PLAN


def test_an_audit_that_found_nothing_is_told_of_and_may_exclude_what_was_assumed() -> None:
    for high, is_surprise in ((0.005, True), (0.05, False)):
        night = judged_night(METRICS, PLAN, measured(date(2026, 11, 20), MeasuredShare(0.0, 0.0, high, 0.0)))
        assert (night.plan, night.is_surprise) == (PLAN, is_surprise)
        assert (
            "is assumed, 0.01: 4,000 labels of the nights 2026-10-24 to 2026-11-20 do not tell it from 0, it is "
            in (night.prevalence_from)
        )
        assert f"[0, {high:g}]" in night.prevalence_from


def test_a_measured_prevalence_takes_the_place_of_the_assumed_one_with_its_interval() -> None:
    night = judged_night(METRICS, PLAN, measured(date(2026, 11, 20)))
    assert night.assumptions.prevalence == 0.002
    # Of 100,000 images 200 are drugs, 90 % of which are flagged, and 0.1 % of the others.
    assert night.flags.value == pytest.approx(0.9 * 200 + 0.001 * 99_800)
    assert night.precision is not None
    assert night.precision.value == pytest.approx(180 / (180 + 99.8))
    exact = judged_night(METRICS, PLAN, measured(date(2026, 11, 20), MeasuredShare(0.002, 0.002, 0.002, None)))
    assert exact.precision is not None
    assert night.precision.low < exact.precision.low < exact.precision.high < night.precision.high
    assert night.flags.low < exact.flags.low and night.flags.high > exact.flags.high
    assert night.flags_per_false_alarm == pytest.approx(99_800 / 10_000)
    assert night.is_surprise
    assert "0.002 [0.001, 0.003], by 4,000 labels of the nights 2026-10-24 to 2026-11-20" in night.prevalence_from
    assert "the threshold was chosen for 0.01" in night.prevalence_from
    as_assumed = judged_night(METRICS, dataclasses.replace(PLAN, prevalence=0.0025), measured(date(2026, 11, 20)))
    assert not as_assumed.is_surprise


def test_the_newest_audit_counts_while_it_is_young_enough(database: Database) -> None:
    now = datetime(2026, 11, 26, 12, tzinfo=UTC)
    assert database.recall.prevalence(now, 35) is None
    old, new = measured(date(2026, 9, 1)), measured(date(2026, 11, 1), version=2)
    of_bucket = dataclasses.replace(new, bucket="pics")
    database.recall.store([old, of_bucket, new])
    assert database.recall.prevalence(now, 35) == new
    assert database.recall.prevalence(now, 10) is None
    assert database.recall.latest(1) == (old,)
    again = dataclasses.replace(new, undecided=0)
    database.recall.store([again])
    # What a rerun has not is over.
    assert database.recall.latest() == (again,)
