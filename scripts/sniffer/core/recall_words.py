"""Measured recall in words, for programs and for Airflow's log."""

from __future__ import annotations

from sniffer.core.recall_records import DriftTest, MeasuredShare, RecallFigures, RecallReport
from sniffer.core.text import printable

FLAGGED_SHARE, SCORES = "flagged share", "scores"
"""What a night is compared by."""


def drift_in_words(one: DriftTest) -> str:
    """A line for a person."""
    where = f"{one.bucket}, night of {one.night}: {one.kind}"
    if one.p_value is None or one.usual is None:
        return f"{where}: only {one.nights} nights before it, too few to compare with"
    values = (
        f"{one.value:.4%} against {one.usual:.4%}"
        if one.kind == FLAGGED_SHARE
        else f"distance {one.value:.2g} against {one.usual:.2g}"
    )
    verdict = "UNLIKE THE PAST" if one.is_alarm else "as usual"
    return f"{where} {values} of {one.nights} nights before it: {verdict} (p = {one.p_value:.2g})"


def report_in_words(report: RecallReport) -> str:
    """The report for a person."""
    lines = []
    for one in report.measured:
        name = one.slice.replace("_", " ") or one.bucket or "all"
        lines.append(f"{name}: {figures_in_words(one.figures)}")
    if not report.measured:
        return "\n".join(map(printable, [report.missing, *map(drift_in_words, report.drift)]))
    head = report.measured[0]
    told = [
        f"model version {report.model_version}, threshold {report.threshold:.4f}, nights {head.first_night} to "
        f"{head.night}: {head.figures.labels:,} labels of {head.figures.images:,} images, {head.pairs:,} seen by two",
        *lines,
    ]
    if head.figures.recall_at_least is not None:
        told.append(f"without the scores' help, the labels exclude a recall below {head.figures.recall_at_least:.1%}")
    if head.undecided:
        told.append(
            f"{head.undecided:,} images of the samples are undecided, {head.disputed:,} of these wait for a lead; they "
            "are taken to be like the others of their stratum"
        )
    if not head.pairs:
        told.append("no image was seen by two reviewers: their errors are taken to be none")
    told += [drift_in_words(one) for one in report.drift]
    return "\n".join(map(printable, told))


def figures_in_words(figures: RecallFigures) -> str:
    """The three shares in one line."""
    return (
        f"prevalence {share_in_words(figures.prevalence, 4)}, recall {share_in_words(figures.recall, 1)}, precision "
        f"{share_in_words(figures.precision, 1)}"
    )


def share_in_words(share: MeasuredShare | None, digits: int) -> str:
    """A share with its 95 % interval, in percent with so many decimals; "undefined" of nothing."""
    if share is None:
        return "undefined"
    return f"{share.value:.{digits}%} ({share.low:.{digits}%} to {share.high:.{digits}%})"
