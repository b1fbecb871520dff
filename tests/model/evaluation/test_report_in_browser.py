"""The report as people meet it: in a real browser, on a phone's width, by keyboard, in light and dark."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from support.accessibility import serious_findings
from support.judged import model_metrics

from sniffer.core.model_metrics import IntervalEstimate
from sniffer_local.browser import PROGRAMS, Page, open_browser
from sniffer_model.data.manifest import ManifestEntry, Split
from sniffer_model.evaluation.figures import Operation, ScoredImages, judge, split_metrics
from sniffer_model.evaluation.mistakes import Mistake
from sniffer_model.evaluation.report import render_report
from sniffer_model.evaluation.report_sections import FigureBeside, Judged, with_verdict
from sniffer_model.statistics.metrics import Resampling
from sniffer_model.statistics.review_load import ReviewPlan

pytestmark = pytest.mark.skipif(not any(map(shutil.which, PROGRAMS)), reason="no Chromium is installed")

PHONE, DESK = (390, 800), (1200, 900)
DOT = "data:image/gif;base64,R0lGODlhAQABAIAAAAUEBAAAACwAAAAAAQABAAACAkQBADs="
JUDGED = Judged(
    version=7,
    accepted=False,
    judged_at=datetime(2026, 11, 5, 4, 30, tzinfo=UTC),
    reasons=("PR-AUC is not shown to be better than the stable model's: " + "1.0000 against 0.9935, " * 4,),
    warnings=("judged by laxer limits",),
    overridden_by="ana",
    override_reason="the first model of our own pictures",
    stable_version=6,
    images=400,
    figures=(FigureBeside("PR-AUC", 0.93111, 0.91, IntervalEstimate(0.0212, 0.0101, 0.0323), 4),),
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A judged report with mistakes, made by the code that makes every report."""
    draws = np.random.default_rng(0)
    truth = np.arange(120) % 2 == 0
    scores = np.clip(0.5 + (truth - 0.5) * 0.4 + draws.normal(0, 0.2, truth.size), 0.001, 0.999)
    entries = tuple(
        ManifestEntry(f"k/{row}.jpg", f"{row:064x}", "drugs" if truth[row] else "other", f"kind {row % 7}", Split.TEST)
        for row in range(truth.size)
    )
    figures = judge(
        ScoredImages(entries, truth, scores, 0), Operation(1.0, 0.4, ReviewPlan()), Resampling(seed=0, resamples=20)
    )
    metrics = dataclasses.replace(model_metrics(), test=split_metrics(figures))
    mistakes = [Mistake(f"uploads/{'long-' * 30}{number}.jpg", "drugs", "pills", 0.1, DOT) for number in range(3)]
    page = with_verdict(
        render_report(metrics, figures, mistakes, [dataclasses.replace(mistakes[0], picture=None)]), JUDGED
    )
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(page)
    return file


@pytest.fixture(scope="module")
def page(report: Path) -> Iterator[Page]:
    with open_browser() as page:
        page.resize(*PHONE)
        page.open(report.as_uri())
        page.wait_for("document.readyState === 'complete'")
        yield page


def test_on_a_phone_the_verdict_comes_first_and_only_tables_scroll_sideways(page: Page) -> None:
    page.resize(*PHONE)
    first = page.run("document.querySelector('h2').textContent")
    assert first == "Version 7: rejected by ana, although the gate rejects it"
    bottom, width = page.run(
        "[document.querySelector('h2').getBoundingClientRect().bottom, document.documentElement.scrollWidth]"
    )
    assert bottom < PHONE[1] and width <= PHONE[0]
    wide = page.run("[...document.querySelectorAll('.scroll')].map(box => box.scrollWidth > box.clientWidth)")
    assert any(wide)
    assert page.run("[...document.querySelectorAll('table')].every(table => table.closest('.scroll'))")


def test_a_wide_table_is_scrolled_by_keyboard_alone(page: Page) -> None:
    page.resize(*PHONE)
    page.run("document.activeElement.blur()")
    for _ in range(20):
        page.press("Tab")
        if page.run("(box => box.matches('.scroll') && box.scrollWidth > box.clientWidth)(document.activeElement)"):
            break
    assert page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press("ArrowRight")
    page.wait_for("document.activeElement.scrollLeft > 0", 5)


def test_a_users_picture_is_seen_by_keyboard_only_after_its_box_is_ticked(page: Page) -> None:
    blur = "getComputedStyle(document.querySelector('.thumb img')).filter"
    assert page.run(blur) == "blur(16px)"
    page.run("document.querySelector('.thumb input').focus()")
    page.press(" ")
    page.wait_for(f"{blur} === 'none'", 5)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_has_no_serious_barrier_and_no_error(page: Page, scheme: str) -> None:
    page.resize(*DESK)
    page.prefer(scheme)
    assert serious_findings(page) == []
    assert page.complaints == []


def test_a_barrier_and_an_error_would_be_found() -> None:
    with open_browser() as page:
        page.open("data:text/html,<img src='data:,'><script>missing()</script>")
        page.wait_for("document.readyState === 'complete'")
        assert any(finding.startswith("image-alt") for finding in serious_findings(page))
        assert any("missing is not defined" in complaint for complaint in page.complaints)
