"""When a certificate holds and when it does not, as a table of cases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sniffer.core.model_records import ModelRecord, ModelStatus
from sniffer.core.records import Certificate, FailureSample, FencingToken, Outcome, OutcomeTally, ScanRequest
from sniffer.scan.certificate import StoredRows, certify, describe
from sniffer.scan.comparison import CountedImages
from sniffer.scan.listing import ListingTally

MODEL = ModelRecord(3, "d" * 64, "b" * 64, "p1", 0.5, ModelStatus.STABLE)
P, U, F, R = Outcome.PREDICTED, Outcome.UNREADABLE, Outcome.FAILED, Outcome.REUSED


def certificate(
    listed: int,
    counts: dict[Outcome, int],
    *,
    unchanged: int = 0,
    held: dict[Outcome, int] | None = None,
    interruption: str | None = None,
) -> Certificate:
    found = (counts if held is None else held).items()
    tallies = tuple(OutcomeTally(outcome, "", count, 1, 1000 * count) for outcome, count in found)
    heard = {outcome: CountedImages(counts.get(outcome, 0), 1000 * counts.get(outcome, 0)) for outcome in Outcome}
    return certify(
        ScanRequest("s", "bkt"),
        MODEL,
        "p1",
        2,
        FencingToken(1, 4),
        ListingTally(listed=listed, unchanged=unchanged, finished=True),
        heard,
        StoredRows(tallies, flagged_new=2, samples=()),
        duration_s=2.0,
        error_budget=0.01,
        interruption=interruption,
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"listed": 0, "counts": {}}, None),
        ({"listed": 10, "counts": {P: 7, U: 1}, "unchanged": 2}, None),
        ({"listed": 10, "counts": {P: 7}, "unchanged": 2}, "1 of 10 listed images have no outcome"),
        ({"listed": 10, "counts": {P: 11}}, "1 more outcomes than listed"),
        ({"listed": 100, "counts": {P: 99, F: 1}}, None),
        ({"listed": 100, "counts": {P: 98, F: 2}}, "2 of 100 images failed"),
        ({"listed": 100, "counts": {F: 1}, "unchanged": 99}, "1 of 1 images failed"),
        (
            {"listed": 9, "counts": {P: 9}, "held": {P: 8}},
            "9 images were acknowledged as predicted, but MySQL holds 8",
        ),
        ({"listed": 9, "counts": {P: 9}, "held": {P: 9, U: 1}}, "0 images were acknowledged as unreadable"),
        ({"listed": 9, "counts": {P: 9}, "interruption": "no consumer"}, "no consumer"),
    ],
)
def test_a_certificate_holds_only_when_every_image_is_accounted_for(
    arguments: dict[str, Any], problem: str | None
) -> None:
    made = certificate(**arguments)
    assert made.holds == (problem is None)
    if problem:
        assert any(problem in found for found in made.problems)
        assert problem in describe(made)


def test_the_description_shows_the_equation() -> None:
    text = describe(certificate(10, {P: 5, R: 1, U: 1}, unchanged=3))
    assert (
        "10 = 3 unchanged + 5 predicted + 1 reused + 1 unreadable + 0 inaccessible + 0 gone + 0 skipped + 0 failed"
        in text
    )
    assert "the certificate holds" in text
    assert "run 4" in text and "decoder 2" in text
    assert "flagged    2 newly, 3 in all" in text


def test_the_description_names_the_first_failures_and_counts_the_others() -> None:
    samples = tuple(FailureSample(f"{n}.jpg", U, "truncated", "ends early") for n in range(14))
    text = describe(replace(certificate(14, {U: 14}), failure_samples=samples))
    assert "unreadable 0.jpg: truncated" in text
    assert "11.jpg" in text and "12.jpg" not in text
    assert "2 more in the certificate" in text
