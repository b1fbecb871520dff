"""What a reader of the report sees first."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from sniffer.core.errors import ContractError
from sniffer.core.gate_records import Check, ModelComparison, PairedFigure
from sniffer.core.model_metrics import IntervalEstimate
from sniffer_model.evaluation.report_sections import FigureBeside, Judged, with_verdict
from sniffer_model.gate.verdict import GateDecision, Override
from sniffer_model.gate.verdict_for_report import judged_for_report

PAGE = "<h1>Report</h1><!-- verdict --><p>Not judged yet</p><!-- /verdict --><p>figures</p>"
GAIN = IntervalEstimate(0.0212, 0.0101, 0.0323)
JUDGED = Judged(
    version=7,
    accepted=True,
    judged_at=datetime(2026, 11, 5, 4, 30, tzinfo=UTC),
    reasons=("PR-AUC is better",),
    warnings=("judged by laxer limits",),
    overridden_by=None,
    override_reason=None,
    stable_version=6,
    images=400,
    figures=(
        FigureBeside("PR-AUC", 0.93111, 0.91, GAIN, 4),
        FigureBeside("flags per night", 1234.4, 1300.0, None, 0),
        FigureBeside("precision per night", None, 0.5, None, 4),
    ),
)


def test_verdict_version_date_reasons_and_comparison_come_first() -> None:
    page = with_verdict(PAGE, JUDGED)
    for text in (
        "Version 7: accepted</h2>",
        '<time datetime="2026-11-05T04:30:00+00:00">05 November 2026, 04:30 UTC</time> against the stable version 6.',
        "<li>PR-AUC is better</li>",
        '<p class="warn">judged by laxer limits</p>',
        "stable version 6</th>",
        "<td>0.9311</td><td>0.9100</td><td>+0.0212 [+0.0101, +0.0323]</td>",
        "<td>1,234</td><td>1,300</td><td>–</td>",
        "<td>–</td><td>0.5000</td><td>–</td>",
    ):
        assert text in page
    assert page.index("Version 7") < page.index("figures</p>")
    assert "Not judged yet" not in page


def test_a_later_verdict_replaces_an_earlier_one() -> None:
    rejected = dataclasses.replace(JUDGED, accepted=False, reasons=("recall is below 0.8",))
    page = with_verdict(with_verdict(PAGE, JUDGED), rejected)
    assert page == with_verdict(PAGE, rejected)
    assert "Version 7: rejected" in page
    assert "Why the gate rejects it" in page


def test_an_override_is_told_with_name_and_reason() -> None:
    overridden = dataclasses.replace(JUDGED, overridden_by="Ana <b>", override_reason="the only one")
    page = with_verdict(PAGE, overridden)
    assert "accepted by Ana &lt;b&gt;, although the gate rejects it" in page
    assert "<b>Reason given:</b> the only one" in page


def test_without_a_stable_version_it_says_so() -> None:
    page = with_verdict(PAGE, dataclasses.replace(JUDGED, stable_version=None, images=0, figures=()))
    assert "<b>There is no stable version yet</b>" in page
    assert "<table>" not in page


def test_a_page_without_a_place_for_it_is_refused() -> None:
    with pytest.raises(ContractError, match="run `sniffer model evaluate`"):
        with_verdict("<h1>An old report</h1>", JUDGED)


def test_the_gates_decision_is_told_in_full() -> None:
    paired = PairedFigure(0.9, 0.8, GAIN)
    comparison = ModelComparison(400, paired, paired, paired, paired, paired, ())
    checks = (Check("pr_auc", True, "good"), Check("recall", False, "bad"))
    decision = GateDecision(True, checks, Override("Ana", "the only one"))
    judged = judged_for_report(decision, comparison, 6, 7, JUDGED.judged_at)
    assert (judged.version, judged.stable_version, judged.images, judged.accepted) == (7, 6, 400, True)
    assert (judged.reasons, judged.overridden_by, judged.override_reason) == (("bad",), "Ana", "the only one")
    assert [figure.name for figure in judged.figures] == [
        "PR-AUC",
        "ROC-AUC",
        "recall at the threshold",
        "precision per night",
        "flags per night",
    ]
    assert judged_for_report(decision, None, None, 7, JUDGED.judged_at).figures == ()
