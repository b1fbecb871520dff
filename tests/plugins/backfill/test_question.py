"""Whether a person is asked before a whole bucket is scanned, and what that person reads."""

from __future__ import annotations

import dataclasses

import pytest
from support.estimates import ESTIMATE

from sniffer.core.estimate_records import BackfillEstimate, Span
from sniffer_airflow.backfill.form import ApprovalLimits
from sniffer_airflow.backfill.question import nights, question, reasons_to_ask

UNKNOWN = dataclasses.replace(ESTIMATE, hours=None, gpu_hours=None, cost=None)


@pytest.mark.parametrize(
    ("estimate", "limits", "reasons"),
    [
        (ESTIMATE, ApprovalLimits(), ["the form has no limits, so that a person approves every run"]),
        (ESTIMATE, ApprovalLimits(images=7, hours=4, cost=8), []),
        (ESTIMATE, ApprovalLimits(images=6), ["7 new images are above 6"]),
        (ESTIMATE, ApprovalLimits(images=0), ["7 new images are above 0"]),
        # The end of the span counts, not what is likely.
        (ESTIMATE, ApprovalLimits(hours=3.9, cost=7.5), ["up to 4.0 hours are above 3.9", "up to 8.00 is above 7.5"]),
        (UNKNOWN, ApprovalLimits(hours=1000, cost=1000), ["the hours are unknown", "the cost is unknown"]),
        (UNKNOWN, ApprovalLimits(images=7), []),
    ],
)
def test_a_person_is_asked_above_any_limit_and_about_what_is_unknown(
    estimate: BackfillEstimate, limits: ApprovalLimits, reasons: list[str]
) -> None:
    assert reasons_to_ask(estimate, limits) == reasons


def test_the_question_says_what_is_approved_and_nothing_in_it_is_markup() -> None:
    odd = dataclasses.replace(ESTIMATE, prefix="a|b`<img src=x>/", digest="3f0a" * 16)
    body = question(odd, "22:00-06:00 UTC", ["7 new images are above 6"], "eve")
    assert "7 new images are above 6" in body and "anybody but eve" in body
    assert "3f0a3f0a3f0a3f0a" in body and "holds up to 13 objects" in body
    assert "`` s3://bkt/a|b`<img src=x>/ ``" in body, "as code, which nobody renders"
    rows = [line for line in body.splitlines() if line.startswith("| ")]
    assert all(line.replace("\\|", "").count("|") == 3 for line in rows), rows
    assert "| nights | 1 to 1, of 8 hours each" in body


def test_nights_are_counted_from_the_hours_of_the_estimate() -> None:
    long = dataclasses.replace(ESTIMATE, hours=Span(15, 20, 33))
    assert nights(long, "22:00-06:00 Europe/Berlin") == "2 to 5, of 8 hours each (22:00-06:00 Europe/Berlin)"
    assert nights(long, "") == "" and nights(UNKNOWN, "22:00-06:00 UTC") == ""
