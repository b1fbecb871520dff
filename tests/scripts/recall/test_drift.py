"""Nights that are like their past are not told of more often than stated; nights that are not, are."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy.stats import t as student

from sniffer.recall.drift import ALARM_BELOW, FEWEST_NIGHTS, Night, flagged_share, scores, student_tail
from sniffer.recall.selection import BINS

PAST = 28


def nights(count: int, seed: int, *, images: int = 100_000, rate: float = 0.01, spread: float = 0.1) -> list[Night]:
    """Nights whose share of flags and whose scores differ by more than chance."""
    random = np.random.default_rng(seed)
    places = np.arange(BINS) - BINS / 2
    found = []
    for _ in range(count):
        scored = int(images * math.exp(random.normal(0, 0.2)))
        odds = rate / (1 - rate) * math.exp(random.normal(0, spread))
        shape = np.exp(-0.5 * ((places + 8 + random.normal(0, spread / 2)) / 3) ** 2)
        histogram = random.multinomial(scored, shape / shape.sum())
        found.append(Night(scored, int(random.binomial(scored, odds / (1 + odds))), tuple(map(int, histogram))))
    return found


@pytest.mark.parametrize("degrees", [3, 6, 27, 364])
def test_the_tail_is_that_of_students_t(degrees: int) -> None:
    for value in (-4.0, -0.5, 0.0, 1.3, 3.4, 9.0):
        assert student_tail(value, degrees) == pytest.approx(float(student.sf(value, degrees)), rel=1e-4, abs=1e-9)


@pytest.mark.slow  # many thousand nights
@pytest.mark.parametrize(
    ("images", "rate", "spread"),
    [(100_000, 0.01, 0.1), (100_000, 0.001, 0.2), (5000, 0.001, 0.1), (3_000_000, 3e-4, 0)],
)
def test_a_bucket_that_does_not_change_has_about_one_false_alarm_a_year(
    images: int, rate: float, spread: float
) -> None:
    years = 20
    all_nights = nights(365 * years + PAST, 1, images=images, rate=rate, spread=spread)
    alarms = 0
    for last in range(PAST, len(all_nights)):
        window = all_nights[last - PAST : last + 1]
        alarms += sum(float(found.p_value or 0) < ALARM_BELOW for found in (flagged_share(window), scores(window)))
    assert alarms / years < 2


def test_nights_like_their_past_are_no_alarm_and_others_are() -> None:
    past = nights(PAST + 60, seed=2)
    quiet = [past[last - PAST : last + 1] for last in range(PAST, len(past))]
    shares, distances = ([test(window).p_value or 0.0 for window in quiet] for test in (flagged_share, scores))
    # Some 60 nights: p-values are spread, and next to none is an alarm.
    for values in (shares, distances):
        assert 0.25 < np.mean(values) < 0.75
        assert sum(value < ALARM_BELOW for value in values) <= 1
    usual = past[-1]
    flooded = dataclasses.replace(usual, flagged=usual.flagged * 3)
    assert (flagged_share([*past[-PAST:-1], flooded]).p_value or 1) < ALARM_BELOW
    shifted = dataclasses.replace(usual, histogram=(*usual.histogram[2:], 0, 0))
    assert (scores([*past[-PAST:-1], shifted]).p_value or 1) < ALARM_BELOW


def test_too_few_nights_are_no_past() -> None:
    few = nights(FEWEST_NIGHTS, seed=3)
    assert flagged_share(few).p_value is None and scores(few).p_value is None
    enough = nights(FEWEST_NIGHTS + 1, seed=3)
    assert flagged_share(enough).p_value is not None and scores(enough).p_value is not None


def test_nights_without_any_flag_are_compared_by_counting() -> None:
    silent = [dataclasses.replace(night, flagged=0) for night in nights(PAST, seed=4)]
    first = flagged_share([*silent, dataclasses.replace(silent[0], flagged=1)])
    assert first.p_value is not None and first.p_value > ALARM_BELOW
    many = flagged_share([*silent, dataclasses.replace(silent[0], flagged=500)])
    assert many.p_value is not None and many.p_value < ALARM_BELOW
