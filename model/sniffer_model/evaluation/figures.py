"""All figures of one scored split, with bootstrap intervals: by threshold, by slice, by night. Pure.

What metrics.json and the report say about quality is computed here: each figure by one function, for the images and
for every bootstrap draw of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sniffer.core.model_metrics import (
    FigureIntervals,
    NightFigures,
    ReliabilityFigures,
    SliceFigures,
    SplitMetrics,
    ThresholdFigures,
)
from sniffer_model.data.manifest import ManifestEntry
from sniffer_model.statistics.calibration import Reliability, balanced_weights, calibrated, losses
from sniffer_model.statistics.metrics import (
    Band,
    Drawn,
    Ranking,
    Resampling,
    Scores,
    Truth,
    Values,
    bootstrap,
    confusion,
    pr_area,
    ratio,
    roc_area,
)
from sniffer_model.statistics.review_load import ReviewPlan, nightly_load

CONFIDENCE = 0.95
CURVE_POINTS = np.linspace(0, 1, 101)
_GRID = np.arange(1, 20) / 20


@dataclass(frozen=True, slots=True)
class ScoredImages:
    """Images with their true class and the model's own scores; row i of all is one image."""

    entries: tuple[ManifestEntry, ...]
    truth: Truth
    scores: Scores
    left_out: int
    """Images of the split that are gone or have changed since."""

    def kinds(self) -> list[tuple[str, str]]:
        """Label and slice of each image; images without a slice have the slice ''."""
        return [(entry.label, entry.slice) for entry in self.entries]


@dataclass(frozen=True, slots=True)
class Operation:
    """How scores become flags: the temperature that calibrates them, the threshold on calibrated ones, the night."""

    temperature: float
    threshold: float
    plan: ReviewPlan


@dataclass(frozen=True, slots=True)
class SplitFigures:
    """The figures of one split as bands by name; `grid` holds the thresholds that those over thresholds are for."""

    images: ScoredImages
    operation: Operation
    grid: Values
    kinds: tuple[tuple[tuple[str, str], int], ...]
    """Each (label, slice) with its number of images."""
    bands: Mapping[str, Band]

    @property
    def scores(self) -> Values:
        """The calibrated scores."""
        return calibrated(self.images.scores, self.operation.temperature)

    @property
    def chosen(self) -> int:
        """Where in the grid the threshold is."""
        return int(np.searchsorted(self.grid, self.operation.threshold))


def judge(images: ScoredImages, operation: Operation, resampling: Resampling) -> SplitFigures:
    """Compute every figure and its interval. The same input and seed give the same figures."""
    scores = calibrated(images.scores, operation.temperature)
    grid = np.unique(np.append(_GRID, operation.threshold))
    kinds = tuple(sorted(Counter(images.kinds()).items()))
    members = np.array([[kind == own for kind, _ in kinds] for own in images.kinds()], float)
    parts = (
        _over_thresholds(images.truth, scores, grid, operation.plan),
        _of_calibration(images.truth, images.scores, scores),
        share_flagged(members, scores >= operation.threshold),
    )
    bands = bootstrap(
        images.truth,
        lambda drawn: {name: values for part in parts for name, values in part(drawn).items()},
        resampling,
        CONFIDENCE,
    )
    return SplitFigures(images, operation, grid, kinds, bands)


def share_flagged(members: Values, flagged: Truth) -> Callable[[Drawn], dict[str, Values]]:
    """A figure `flagged_by_slice`, [rows, slices], for membership [n, slices]: recall of drugs, else false alarms."""
    return lambda drawn: {"flagged_by_slice": ratio(drawn @ (members * flagged[:, None]), drawn @ members)}


def rates_at(right: Values, wrong: Values, steps: Any) -> tuple[Values, Values]:
    """Recall and false positive rate at those steps of a Ranking (see its steps_at), [rows, steps]."""
    recall, false_alarms = (
        np.concatenate([np.zeros((len(counts), 1)), counts], axis=1)[:, steps] / counts[:, -1:]
        for counts in (right, wrong)
    )
    return recall, false_alarms


def _over_thresholds(
    truth: Truth, scores: Scores, grid: Values, plan: ReviewPlan
) -> Callable[[Drawn], dict[str, Values]]:
    ranking = Ranking(truth, scores)
    steps = ranking.steps_at(grid)
    positives, negatives = float(truth.sum()), float((~truth).sum())

    def figures(drawn: Drawn) -> dict[str, Values]:
        right, wrong = ranking.counts(drawn)
        recall, false_alarms = rates_at(right, wrong, steps)
        night = nightly_load(recall, false_alarms, plan)
        return {
            "pr_auc": pr_area(right, wrong),
            "roc_auc": roc_area(right, wrong),
            "recall": recall,
            "false_positive_rate": false_alarms,
            "precision": ratio(recall * positives, recall * positives + false_alarms * negatives),
            "flags": night.flags,
            "right": night.right,
            "missed": night.missed,
            "nightly_precision": night.precision,
            "pr_curve": _precision_at_recalls(right, wrong),
            "roc_curve": _recall_at_false_alarms(right, wrong),
        }

    return figures


def _precision_at_recalls(right: Values, wrong: Values) -> Values:
    """At each of CURVE_POINTS, the precision of the highest threshold that has that recall, [rows, points]."""
    precision = ratio(right, right + wrong)
    # Half an image below, since a recall times a number of images is rarely a whole number in floating point.
    wanted = np.maximum(CURVE_POINTS * right[0, -1] - 1e-6, 0.5)
    rows = [own[np.searchsorted(found, wanted)] for found, own in zip(right, precision, strict=True)]
    return np.array(rows)


def _recall_at_false_alarms(right: Values, wrong: Values) -> Values:
    """At each of CURVE_POINTS, the recall of the lowest threshold with no more false alarms, [rows, points]."""
    recall = np.concatenate([np.zeros((len(right), 1)), right / right[:, -1:]], axis=1)
    allowed = CURVE_POINTS * wrong[0, -1] + 1e-6
    rows = [own[np.searchsorted(found, allowed, side="right")] for found, own in zip(wrong, recall, strict=True)]
    return np.array(rows)


def _of_calibration(truth: Truth, raw: Scores, scores: Values) -> Callable[[Drawn], dict[str, Values]]:
    weights, reliability = balanced_weights(truth), Reliability(truth, scores)
    raw_reliability = Reliability(truth, raw)
    loss, raw_loss = losses(truth, scores) * weights, losses(truth, raw) * weights
    return lambda drawn: {
        "log_loss": drawn @ loss,
        "log_loss_uncalibrated": drawn @ raw_loss,
        "calibration_error": reliability.expected_error(drawn),
        "calibration_error_uncalibrated": raw_reliability.expected_error(drawn),
        "reliability": reliability.shares(drawn),
    }


def split_metrics(judgement: SplitFigures) -> SplitMetrics:
    """The judgement as metrics.json holds it: plain figures, and their intervals beside them."""
    bands, chosen, scores = judgement.bands, judgement.chosen, judgement.scores
    pr_auc, roc_auc = bands["pr_auc"].defined(), bands["roc_auc"].defined()
    loss, raw_loss = bands["log_loss"].defined(), bands["log_loss_uncalibrated"].defined()
    error, raw_error = bands["calibration_error"].defined(), bands["calibration_error_uncalibrated"].defined()
    precision, recall = bands["precision"].estimate(chosen), bands["recall"].defined(chosen)
    false_alarms = bands["false_positive_rate"].defined(chosen)
    return SplitMetrics(
        images=len(judgement.images.entries),
        pr_auc=pr_auc.value,
        roc_auc=roc_auc.value,
        log_loss=loss.value,
        log_loss_uncalibrated=raw_loss.value,
        calibration_error=error.value,
        calibration_error_uncalibrated=raw_error.value,
        precision=None if precision is None else precision.value,
        recall=recall.value,
        false_positive_rate=false_alarms.value,
        intervals=FigureIntervals(
            pr_auc=pr_auc.ends,
            roc_auc=roc_auc.ends,
            log_loss=loss.ends,
            log_loss_uncalibrated=raw_loss.ends,
            calibration_error=error.ends,
            calibration_error_uncalibrated=raw_error.ends,
            precision=None if precision is None else precision.ends,
            recall=recall.ends,
            false_positive_rate=false_alarms.ends,
        ),
        confusion=confusion(judgement.images.truth, scores, judgement.operation.threshold),
        night=_night(judgement, chosen),
        flags_per_false_alarm=_flags_per_false_alarm(judgement),
        thresholds=tuple(_at_threshold(judgement, i) for i in range(len(judgement.grid))),
        slices=_slices(judgement),
        reliability=_reliability(judgement),
    )


def _at_threshold(judgement: SplitFigures, index: int) -> ThresholdFigures:
    bands = judgement.bands
    return ThresholdFigures(
        threshold=float(judgement.grid[index]),
        precision=bands["precision"].estimate(index),
        recall=bands["recall"].defined(index),
        false_positive_rate=bands["false_positive_rate"].defined(index),
        night=_night(judgement, index),
    )


def _night(judgement: SplitFigures, index: int) -> NightFigures:
    bands = judgement.bands
    return NightFigures(
        flags_per_night=bands["flags"].defined(index),
        right=bands["right"].defined(index),
        missed=bands["missed"].defined(index),
        precision=bands["nightly_precision"].estimate(index),
    )


def _flags_per_false_alarm(judgement: SplitFigures) -> float:
    """How many flags a night one false alarm among the images stands for: no finer figure can be known."""
    plan = judgement.operation.plan
    return plan.nightly_volume * (1 - plan.prevalence) / float(np.sum(~judgement.images.truth))


def _slices(judgement: SplitFigures) -> tuple[SliceFigures, ...]:
    shares = judgement.bands["flagged_by_slice"]
    return tuple(
        SliceFigures(label, name, images, shares.estimate(i))
        for i, ((label, name), images) in enumerate(judgement.kinds)
    )


def _reliability(judgement: SplitFigures) -> tuple[ReliabilityFigures, ...]:
    shares = judgement.bands["reliability"]
    return tuple(
        ReliabilityFigures(
            one.low,
            one.high,
            one.images,
            one.mean_score,
            one.drugs_share,
            (float(shares.low[i]), float(shares.high[i])),
        )
        for one in Reliability(judgement.images.truth, judgement.scores).bins()
        for i in [round(one.low * len(shares.values))]
    )
