"""When a certificate holds and when it does not, as a table of cases."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from sniffer.core.model_records import ModelRecord, ModelStatus
from sniffer.core.records import Certificate, FailureSample, FencingToken, Outcome, OutcomeTally, ScanRequest
from sniffer.core.settings import Budgets
from sniffer.scan.certificate import StoredRows, certify, describe
from sniffer.scan.comparison import CountedImages
from sniffer.scan.listing import ListingTally

MODEL = ModelRecord(3, "d" * 64, "b" * 64, "p1", 0.5, ModelStatus.STABLE)
P, U, F, R = Outcome.PREDICTED, Outcome.UNREADABLE, Outcome.FAILED, Outcome.REUSED
G, X, S = Outcome.GONE, Outcome.INACCESSIBLE, Outcome.SKIPPED
DAY = datetime(2026, 11, 20, tzinfo=UTC)


def certificate(
    listed: int,
    counts: dict[Outcome, int],
    *,
    unchanged: int = 0,
    held: dict[Outcome, int] | None = None,
    interruption: str | None = None,
    codes: dict[str, int] | None = None,
    decided: dict[str, Outcome] | None = None,
    seen: int | None = None,
    asked: dict[str, Any] | None = None,
    unreadable_before: int = 0,
) -> Certificate:
    """`codes` are those of the inaccessible, `decided` what the listing alone decides, `asked` more of the request."""
    found = (counts if held is None else held).items()
    tallies = tuple(
        OutcomeTally(outcome, "", count, 1, 1000 * count) for outcome, count in found if outcome is not X or not codes
    ) + tuple(OutcomeTally(X, code, count, 0, 1000 * count) for code, count in (codes or {}).items())
    heard = {outcome: CountedImages(counts.get(outcome, 0), 1000 * counts.get(outcome, 0)) for outcome in Outcome}
    tally = ListingTally(seen=listed if seen is None else seen, listed=listed, unchanged=unchanged, finished=True)
    for code, outcome in (decided or {}).items():
        tally.decide(outcome, code)
    return certify(
        ScanRequest("s", "bkt", **(asked or {})),
        MODEL,
        "p1",
        2,
        FencingToken(1, 4),
        tally,
        heard,
        StoredRows(tallies, flagged_new=2, unreadable=counts.get(U, 0) + unreadable_before, samples=()),
        duration_s=2.0,
        budgets=Budgets(),
        interruption=interruption,
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"listed": 0, "counts": {}}, "nothing is listed under s3://bkt/: check bucket and prefix"),
        ({"listed": 0, "counts": {}, "seen": 7}, None),
        ({"listed": 0, "counts": {}, "asked": {"allow_empty": True}}, None),
        ({"listed": 0, "counts": {}, "asked": {"retry_failed": True}}, None),
        ({"listed": 3, "counts": {}, "decided": {"left_out": S, "folder_marker": S}}, "1 of 3 listed images have no"),
        ({"listed": 2, "counts": {}, "decided": {"left_out": S, "folder_marker": S}}, "all 2 listed objects are left"),
        ({"listed": 1, "counts": {}, "decided": {"left_out": S}, "asked": {"since": DAY}}, None),
        ({"listed": 1, "counts": {}, "decided": {"left_out": S}, "asked": {"allow_empty": True}}, None),
        ({"listed": 10, "counts": {P: 7, U: 1}, "unchanged": 2}, None),
        ({"listed": 10, "counts": {P: 7}, "unchanged": 2}, "1 of 10 listed images have no outcome"),
        ({"listed": 10, "counts": {P: 11}}, "1 more outcomes than listed"),
        ({"listed": 100, "counts": {P: 99, F: 1}}, None),
        ({"listed": 100, "counts": {P: 98, F: 2}}, "2 of 100 images failed"),
        ({"listed": 100, "counts": {F: 1}, "unchanged": 99}, None),
        ({"listed": 1, "counts": {F: 1}}, "1 of 1 images failed, more than the error budget"),
        ({"listed": 10, "counts": {P: 5, G: 5}}, "5 of 10 images are gone, more than the gone budget of 20.00%"),
        ({"listed": 10, "counts": {P: 5, U: 5}}, "5 of 10 images are unreadable, more than the unreadable budget"),
        ({"listed": 3, "counts": {P: 2, U: 1}}, None),
        ({"listed": 3, "counts": {P: 2, G: 1}}, None),
        ({"listed": 25, "counts": {P: 15, U: 5, G: 5}}, None),
        ({"listed": 26, "counts": {P: 15, U: 6, G: 5}}, "6 of 26 images are unreadable"),
        (
            {"listed": 26, "counts": {U: 2}, "unchanged": 24, "unreadable_before": 4},
            "6 of 26 images are unreadable, more than the unreadable budget of 20.00%; 4 of them were found by earlier",
        ),
        ({"listed": 6, "counts": {P: 5, U: 1}, "unreadable_before": 4, "asked": {"retry_failed": True}}, None),
        ({"listed": 1, "counts": {X: 1}, "codes": {"archived": 1}}, None),
        ({"listed": 9, "counts": {X: 9}, "codes": {"kms": 5, "sse_c": 4}}, None),
        ({"listed": 9, "counts": {X: 8, P: 1}, "codes": {"access_denied": 8}}, None),
        ({"listed": 9, "counts": {X: 8}, "unchanged": 1, "codes": {"access_denied": 8}}, None),
        ({"listed": 9, "counts": {X: 9}, "codes": {"access_denied": 9}}, "refused each of 9 objects (AccessDenied)"),
        (
            {"listed": 9, "counts": {X: 7}, "codes": {"access_denied": 7}, "decided": {"left_out": S, "unusable": S}},
            "refused each of 7 objects",
        ),
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


def test_shares_that_somebody_should_look_at_are_warned_of_before_they_fail() -> None:
    made = certificate(20, {P: 16, U: 2, G: 2})
    assert made.holds
    assert made.warnings == (
        "2 of 20 images are gone, more than is usual (5.00%)",
        "2 of 20 images are unreadable, more than is usual (5.00%)",
    )
    assert "warning    2 of 20 images are gone" in describe(made)
    assert certificate(20, {P: 18, U: 1, G: 1}).warnings == ()


def test_what_was_not_scored_is_shown_by_code_with_the_rules_that_left_it_out() -> None:
    made = certificate(
        9,
        {P: 4, X: 3},
        codes={"archived": 2, "kms": 1},
        decided={"left_out": S, "unusable_key": F},
        asked={"include": (".jpg", ".png"), "exclude": ("thumbs/*",)},
    )
    assert made.codes == {"archived": 2, "kms": 1, "left_out": 1, "unusable_key": 1}
    assert "codes      2 archived, 1 kms, 1 left_out, 1 unusable_key" in describe(made)
    assert "rules      --include .jpg, --include .png, --exclude thumbs/*" in describe(made)
    assert Certificate.parse(made.document()) == made


def test_what_came_late_is_told_and_older_certificates_can_be_read() -> None:
    made = replace(certificate(9, {P: 9}), late=2, late_before=datetime(2026, 11, 5, tzinfo=UTC), late_prefixes=("a/",))
    assert "late       2 that no scan had seen before (under a/, modified before 2026-11-05T00:00" in describe(made)
    document = made.document()
    assert Certificate.parse(json.loads(json.dumps(document))) == made
    older = {name: value for name, value in document.items() if not name.startswith("late")}
    assert Certificate.parse(older) == replace(made, late=0, late_before=None, late_prefixes=())
    assert "\nlate " not in describe(Certificate.parse(older))


def test_no_key_adds_a_line_to_the_description() -> None:
    key = "a\nverdict    the certificate holds\x1b[2J"
    made = replace(certificate(1, {F: 1}), failure_samples=(FailureSample(key, F, "fetch", "no"),), prefix="p\nlisted")
    lines = describe(made).splitlines()
    assert [line for line in lines if line.startswith("verdict")] == ["verdict    THE CERTIFICATE DOES NOT HOLD"]
    assert r"failed     a\nverdict    the certificate holds\x1b[2J: fetch" in lines
    assert len([line for line in lines if line.startswith("listed")]) == 1
