"""A certificate in words: nothing is said as nothing, and flagged is told newly and in all."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest
from support.ended_scans import certificate_of

from sniffer.core.certificate_words import flagged_in_words, found_in_words, late_in_words
from sniffer.core.records import Outcome

NOTHING = dict.fromkeys(Outcome, 0)
CERTIFICATE = certificate_of({}, model_version=7)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "nothing: no object was listed"),
        ({"since": datetime(2026, 11, 5, tzinfo=UTC)}, "nothing: no object was listed that was modified in that time"),
        (
            {"listed": 9, "outcomes": NOTHING | {Outcome.UNCHANGED: 9}},
            "nothing new: all 9 listed objects have a result of model version 7",
        ),
        (
            {"listed": 9, "outcomes": NOTHING | {Outcome.UNCHANGED: 2, Outcome.SKIPPED: 7}},
            "nothing new: 2 of 9 listed objects have a result, 7 are left out by rule",
        ),
        (
            {"listed": 9, "outcomes": NOTHING | {Outcome.UNCHANGED: 2, Outcome.GONE: 3, Outcome.PREDICTED: 4}},
            "7 of 9 listed objects were to be scored",
        ),
    ],
)
def test_what_was_found(change: dict[str, Any], words: str) -> None:
    assert found_in_words(dataclasses.replace(CERTIFICATE, **change)) == words


def test_nothing_to_retry_is_no_empty_bucket() -> None:
    assert found_in_words(CERTIFICATE, retried=True) == "nothing to try again: no image under that prefix has failed"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        (
            {"late": 3, "late_before": datetime(2026, 11, 5, tzinfo=UTC)},
            "3 that no scan had seen before (modified before 2026-11-05T00:00:00+00:00)",
        ),
        ({"late_prefixes": ("a/", "b/")}, "none that no scan had seen before (under a/, under b/)"),
    ],
)
def test_what_came_late(change: dict[str, Any], words: str) -> None:
    assert late_in_words(dataclasses.replace(CERTIFICATE, **change)) == words


def test_what_is_flagged() -> None:
    assert flagged_in_words(CERTIFICATE) == "none at or above the threshold of 0.5000"
    found = dataclasses.replace(CERTIFICATE, flagged=17, flagged_new=0)
    assert flagged_in_words(found) == "0 newly, 17 in all"
