"""What people read before they approve a version."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from support.judged import changed_images

from sniffer.core.rollout_records import Flip, GoldenDifferences, Latency, LatencyComparison, ShadowReport, VerifyReport
from sniffer_airflow.rollout.question import Asked, picture_path, question, requester, summary

SHADOW = ShadowReport(
    compared=199,
    left_out={"deleted": 1},
    flagged_by_stable=41,
    flagged_by_candidate=42,
    flip_share=1 / 199,
    flag_change=1 / 199,
    flag_change_per_night=5000.0,
    flips=(Flip("b", "k.jpg", stable_score=0.2, candidate_score=0.9, flagged_now=True),),
)
FOUND = VerifyReport(
    version=2,
    golden={"http://one": GoldenDifferences(1e-7, 2e-6)},
    stable=1,
    latency={"http://one": LatencyComparison(8, 30, candidate=Latency(20.0, 30.25), stable=Latency(21.0, 33.0))},
    shadow=SHADOW,
)
ASKED = Asked("ana", datetime(2026, 11, 26, 9, 5, tzinfo=UTC))
FIRST = VerifyReport(version=1, golden=FOUND.golden, note="there is no stable version yet")


def test_the_summary_begins_with_what_changes_and_gives_figures_with_units() -> None:
    assert summary(FOUND).splitlines() == [
        "#### What changes with version 2",
        "",
        "On the newest 199 scanned images (left out: 1 `deleted`):",
        "",
        "| | stable version 1 | version 2 |",
        "|---|---|---|",
        "| images flagged | 41 | 42 |",
        "",
        "* Different decision on **0.5%** of the images.",
        "* **+5,000** flagged images per night, at the present number of images.",
        "",
        "Images with the largest change in score:",
        "",
        "* 0.200 → 0.900, flagged now: `s3://b/k.jpg`",
        "",
        "#### Checks on the model servers",
        "",
        "* `http://one`: golden examples differ from the published scores by at most 1.0e-07 (pixels) and 2.0e-06 "
        "(serving_default)",
        "* `http://one`: a batch of 8 takes 20.0 ms (median; stable: 21.0 ms) and 30.2 ms (95th percentile; stable: "
        "33.0 ms)",
    ]


def test_without_a_stable_version_it_says_so_first() -> None:
    text = summary(FIRST)
    assert text.splitlines()[2].startswith("**There is no stable version yet**, so nothing can be compared")
    assert "images flagged" not in text


def test_decisions_that_were_not_compared_are_not_passed_over() -> None:
    assert "decisions were **not compared**" in summary(replace(FOUND, shadow=None))


def test_no_flip_needs_no_picture() -> None:
    text = question(replace(FOUND, shadow=replace(SHADOW, flips=())), ASKED)
    assert "No image is decided differently." in text
    assert "changes.svg" not in text


def test_the_question_names_report_requester_and_deadline() -> None:
    text = question(FOUND, ASKED)
    assert "[version 2](" in text and "/sniffer/reports/2/)" in text
    assert "* **Requested by:** ana" in text
    assert "* **Answer by:** Thursday, 26 November 2026, 09:05 UTC." in text
    assert (
        "\n![Scores by both versions of images that are decided differently: 1 flagged now, 0 no longer flagged]"
        "(/sniffer/changes.svg?compared=199&stable=41&candidate=42&flips=0.200-0.900-1)\n"
    ) in text
    assert text.endswith(summary(FOUND))


def test_changed_test_images_are_counted_and_their_pictures_are_an_address_alone() -> None:
    text = question(FOUND, ASKED, changed_images((0.1, 0.9), (0.8, 0.2), (0.1, 0.7)))
    assert "3 of 200: 2 flagged now, 1 no longer flagged." in text
    assert "\n![Pictures of test images whose verdict changes](/sniffer/changed-images/2.svg)\n" in text
    assert "data:" not in text and "which was stable then" not in text
    assert "compared with version 3, which was stable then" in question(
        FOUND, ASKED, changed_images((0.1, 0.9), stable_version=3)
    )


def test_a_version_that_was_judged_before_pictures_were_kept_says_so_and_the_way_to_them() -> None:
    text = question(FOUND, ASKED)
    assert "#### Test images that are decided differently\n\nNot shown: the gate kept none of this version." in text
    assert "judged before sniffer-bot kept them" in text and "`sniffer model gate` with its workdir" in text
    assert "changed-images" not in text


def test_no_changed_test_image_needs_no_picture() -> None:
    text = question(FOUND, ASKED, changed_images())
    assert "No test image changes its verdict: both versions decide alike on all 200." in text
    assert "changed-images" not in text and "Test images" not in question(FIRST, ASKED)


@pytest.mark.parametrize(
    ("user", "run_type", "words"),
    [
        ("ana", "asset_triggered", "ana"),
        (None, "asset_triggered", "nobody, an export started this run"),
        (None, "manual", "unknown (manual run)"),
    ],
)
def test_who_asked(user: str | None, run_type: str, words: str) -> None:
    assert requester(user, run_type) == words


def test_the_pictures_address_holds_its_figures_only() -> None:
    assert "k.jpg" not in picture_path(SHADOW)


def test_no_foreign_text_of_the_summary_is_markdown() -> None:
    golden = {"http://a`[x](//y)": GoldenDifferences(0.0, 0.0)}
    text = summary(VerifyReport(5, golden, note="no *stable*\n# version <b>"))
    assert "* ``http://a`[x](//y)``: golden" in text or "* `` http://a`[x](//y) ``: golden" in text
    assert r"**No \*stable\* \# version \<b\>**, so nothing can be compared" in text
