"""Whether a person is asked before a whole bucket is scanned, and what that person reads."""

from __future__ import annotations

import dataclasses

import pytest
from support.estimates import ESTIMATE

from sniffer.core.errors import SettingsError
from sniffer.core.estimate_records import BackfillEstimate, Span
from sniffer_airflow.backfill.form import ApprovalLimits, backfill_params, team_limits
from sniffer_airflow.backfill.question import nights, question, reasons_of_team, reasons_to_ask

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


@pytest.mark.parametrize(
    ("estimate", "limits", "reasons"),
    [
        (ESTIMATE, ApprovalLimits(), []),
        # 7 new, and half of 9 listed objects more.
        (ESTIMATE, ApprovalLimits(images=11, hours=6.3, cost=12.6), []),
        (ESTIMATE, ApprovalLimits(images=10), ["7 new images and a growth of 4 are above 10, the team's limit"]),
        (
            ESTIMATE,
            ApprovalLimits(hours=4, cost=8),
            ["up to 6.3 hours are above 4, the team's limit", "up to 12.57 is above 8, the team's limit"],
        ),
        (dataclasses.replace(ESTIMATE, growth=0.0), ApprovalLimits(images=7, hours=4, cost=8), []),
        (UNKNOWN, ApprovalLimits(cost=1e9), ["the cost is unknown, the team's limit"]),
        # Nothing is new, so that nothing says what an image of the growth costs.
        (
            dataclasses.replace(ESTIMATE, to_fetch=()),
            ApprovalLimits(images=4, hours=9),
            ["the hours are unknown, the team's limit"],
        ),
        (dataclasses.replace(ESTIMATE, to_fetch=(), growth=0.0), ApprovalLimits(images=0, hours=9), []),
    ],
)
def test_the_limits_of_the_team_hold_for_all_that_an_approval_lets_in(
    estimate: BackfillEstimate, limits: ApprovalLimits, reasons: list[str]
) -> None:
    assert reasons_of_team(estimate, limits) == reasons


def test_the_limits_of_the_team_are_settings_and_the_form_shows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert team_limits({}) == ApprovalLimits()
    monkeypatch.setenv("SNIFFER_BACKFILL_IMAGES", "250000")
    monkeypatch.setenv("SNIFFER_BACKFILL_COST", "0.5")
    assert team_limits() == ApprovalLimits(images=250_000, cost=0.5)
    shown = {name: str(param.schema["description_md"]) for name, param in backfill_params().items() if "most" in name}
    assert "above **250,000** in any case" in shown["most_images"] and "above **0.5** in" in shown["most_cost"]
    assert "in any case" not in shown["most_hours"]


@pytest.mark.parametrize("name", ["SNIFFER_BACKFILL_IMAGES", "SNIFFER_BACKFILL_HOURS", "SNIFFER_BACKFILL_COST"])
@pytest.mark.parametrize("text", ["many", "-1", "nan"])
def test_a_limit_of_the_team_that_cannot_be_read_is_none_that_is_lifted(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match=name):
        team_limits({name: text})
    monkeypatch.setenv(name, text)
    assert "The team's limits are unknown" in str(backfill_params()["most_images"].schema["description_md"])


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
