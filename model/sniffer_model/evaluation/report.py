"""The report: metrics.json as one self-contained page, with curves and the worst mistakes.

The page loads nothing and runs nothing. The gate adds its verdict, see report_sections.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from sniffer.core.model_metrics import IntervalEstimate, ModelMetrics, SplitMetrics
from sniffer.core.model_records import LABELS, MODEL_NAME
from sniffer_model.evaluation.figures import CURVE_POINTS, SplitFigures
from sniffer_model.evaluation.mistakes import Mistake
from sniffer_model.evaluation.plots import (
    band_plot,
    class_shares,
    flagged_in_words,
    reliability_plot,
    score_histogram,
)
from sniffer_model.statistics.metrics import Values

TEMPLATES = Path(__file__).parent
_TEMPLATE = "report.html.j2"


def template_environment() -> Environment:
    """How our pages are rendered: text is escaped, and a name that is missing is an error."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"share": _share, "count": _count, "spread": _spread}
    return environment


def render_report(
    metrics: ModelMetrics, test: SplitFigures, missed: Sequence[Mistake], alarms: Sequence[Mistake]
) -> str:
    """The page's HTML; the same input gives the same text."""
    scores, words = _scores_by_class(test), _in_words(test)
    return (
        template_environment()
        .get_template(_TEMPLATE)
        .render(
            name=MODEL_NAME,
            labels=LABELS,
            document=metrics,
            test=metrics.test,
            plots=[Markup(plot) for plot in _plots(metrics.test, test)],
            histogram=Markup(score_histogram(class_shares(scores), test.operation.threshold, words)),
            histogram_in_words=words,
            missed=missed,
            alarms=alarms,
        )
    )


def _scores_by_class(test: SplitFigures) -> dict[str, Values]:
    """The calibrated scores of each class, drugs first."""
    truth = test.images.truth
    return {LABELS[1]: test.scores[truth], LABELS[0]: test.scores[~truth]}


def _in_words(test: SplitFigures) -> str:
    scores, threshold = _scores_by_class(test), test.operation.threshold
    sizes = " and ".join(f"{len(of_class)} {label}" for label, of_class in scores.items())
    return f"Scores of {sizes} test images. {flagged_in_words(scores, threshold)}"


def _plots(figures: SplitMetrics, test: SplitFigures) -> list[str]:
    bands, chosen = test.bands, test.chosen
    recall = figures.recall
    at_precision = (recall, 1.0 if figures.precision is None else figures.precision)
    at_recall = (float(bands["false_positive_rate"].values[chosen]), recall)
    return [
        band_plot("Precision by recall", ("recall", "precision"), CURVE_POINTS, bands["pr_curve"], at=at_precision),
        band_plot("ROC", ("false alarms", "recall"), CURVE_POINTS, bands["roc_curve"], at=at_recall, diagonal=True),
        reliability_plot(figures.reliability),
    ]


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _spread(found: IntervalEstimate | None, digits: int = 3) -> str:
    """An estimate with its interval."""
    if found is None:
        return "–"
    value, low, high = (f"{figure:,.{digits}f}" for figure in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"
