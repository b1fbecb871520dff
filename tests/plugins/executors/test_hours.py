"""Hours of the day, such as those of the night: when they are, by which clocks, what a task does outside of them."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, time, timedelta

import pytest
from airflow.sdk.exceptions import AirflowRescheduleException
from hypothesis import given
from hypothesis import strategies as st

from sniffer_airflow.executors.hours import WorkingHours, wait_for_hours

BERLIN = "22:00-06:00 Europe/Berlin"
LOG = logging.getLogger(__name__)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours", "now", "opens", "closes"),
    [
        (BERLIN, "2026-11-26T20:59", "2026-11-26T21:00", "2026-11-27T05:00"),
        (BERLIN, "2026-11-26T21:00", "2026-11-26T21:00", "2026-11-27T05:00"),
        (BERLIN, "2026-11-27T04:58:59", "2026-11-26T21:00", "2026-11-27T05:00"),
        # With less than a minute left nothing begins.
        (BERLIN, "2026-11-27T04:59:30", "2026-11-27T21:00", "2026-11-28T05:00"),
        (BERLIN, "2026-11-27T12:00", "2026-11-27T21:00", "2026-11-28T05:00"),
        # Clocks are put forward, and back.
        (BERLIN, "2026-03-28T22:00", "2026-03-28T21:00", "2026-03-29T04:00"),
        (BERLIN, "2026-10-24T22:00", "2026-10-24T20:00", "2026-10-25T05:00"),
        ("09:00-17:30 UTC", "2026-11-26T17:30", "2026-11-27T09:00", "2026-11-27T17:30"),
        ("00:00-06:00 Asia/Kathmandu", "2026-11-26T19:00", "2026-11-26T18:15", "2026-11-27T00:15"),
    ],
)
def test_the_window_is_the_one_that_is_open_or_the_next(hours: str, now: str, opens: str, closes: str) -> None:
    assert WorkingHours.parse(hours).window(at(now)) == (at(opens), at(closes))


@given(
    st.integers(0, 10 * 365 * 24 * 60),
    st.times(),
    st.times(),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"]),
)
def test_there_is_always_a_window_within_two_days_that_is_not_over(
    minutes: int, opens: time, closes: time, zone: str
) -> None:
    text = f"{opens:%H:%M}-{closes:%H:%M} {zone}"
    if f"{opens:%H:%M}" == f"{closes:%H:%M}":
        return
    moment = at("2020-01-01") + timedelta(minutes=minutes)
    hours = WorkingHours.parse(text)
    start, end = hours.window(moment)
    assert start < end and moment < end and start - moment <= timedelta(days=2)
    assert str(hours) == text


def test_a_task_outside_its_hours_gives_its_place_back_until_they_begin() -> None:
    with pytest.raises(AirflowRescheduleException) as again:
        wait_for_hours(BERLIN, LOG, at("2026-11-26T12:00"))
    assert again.value.reschedule_date == at("2026-11-26T21:00")
    assert wait_for_hours(BERLIN, LOG, at("2026-11-26T23:00")) == ["--end-at=2026-11-27T05:00:00+00:00"]
    assert wait_for_hours("", LOG) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "22:00-06:00",
        "25:00-06:00 UTC",
        "22:00-6:00 UTC",
        "22:00 UTC",
        "07:00-07:00 UTC",
        "22:00-06:00 Mars/Base",
        "22:00-06:00 ../../etc/passwd",
    ],
)
def test_what_are_no_hours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no time|no hours|no time zone"):
        WorkingHours.parse(text)
