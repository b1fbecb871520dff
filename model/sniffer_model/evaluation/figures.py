"""All figures of one scored split, with intervals: by threshold, by slice, by night. Pure.

What metrics.json and the report say about quality is computed here. Shares of images, and what follows from shares,
have exact intervals (statistics/shares.py); figures over all thresholds have bootstrap intervals, which are widened
where the draws all agree: a few images that the model ranks perfectly are no proof of perfection.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

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
from sniffer_model.statistics.calibration import LARGEST_LOSS, Reliability, balanced_weights, calibrated, losses
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
from sniffer_model.statistics.review_load import FlaggedCounts, ReviewPlan, bounded_night
from sniffer_model.statistics.shares import share, unseen_share
from sniffer_model.statistics.unseen import extended, unseen_ranking

CONFIDENCE = 0.95
CURVE_POINTS = np.linspace(0, 1, 101)
_GRID = np.arange(1, 20) / 20
_WORST = {
    "log_loss": LARGEST_LOSS,
    "log_loss_uncalibrated": LARGEST_LOSS,
    "calibration_error": 1.0,
    "calibration_error_uncalibrated": 1.0,
}
"""The largest that each figure can be."""


@dataclass(frozen=True, slots=True)
class ScoredImages:
    """Images with their true class and the model's own scores; row i of all is one image.

    `left_out` is how many images of the split are gone or have changed since, `near_duplicates` how many are left out
    because a near-duplicate of theirs is among the entries.
    """

    entries: tuple[ManifestEntry, ...]
    truth: Truth
    scores: Scores
    left_out: int
    near_duplicates: int = 0

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
    ranking = Ranking(images.truth, scores)
    drawn = _drawn(images, scores, ranking, resampling)
    bands = {
        **_never_certain(drawn, ranking),
        **_over_thresholds(ranking, grid, operation.plan),
        "flagged_by_slice": share(members.T @ (scores >= operation.threshold), members.sum(axis=0), CONFIDENCE),
    }
    return SplitFigures(images, operation, grid, kinds, bands)


def _drawn(images: ScoredImages, scores: Values, ranking: Ranking, resampling: Resampling) -> dict[str, Band]:
    """What needs the order of all images, by the bootstrap."""
    calibration = _of_calibration(images.truth, images.scores, scores)

    def figures(drawn: Drawn) -> dict[str, Values]:
        right, wrong = ranking.counts(drawn)
        return {
            "pr_auc": pr_area(right, wrong),
            "roc_auc": roc_area(right, wrong),
            "pr_curve": _precision_at_recalls(right, wrong),
            "roc_curve": _recall_at_false_alarms(right, wrong),
            **calibration(drawn),
        }

    return bootstrap(images.truth, figures, resampling, CONFIDENCE)


def _never_certain(drawn: Mapping[str, Band], ranking: Ranking) -> dict[str, Band]:
    """The bands, wider where the draws agree because there are few images."""
    lowest, highest = unseen_ranking(ranking, CONFIDENCE)
    right, wrong = ranking.counts()
    fewest = min(right[-1], wrong[-1])
    bands = {
        "pr_auc": extended(drawn["pr_auc"], pr_area(*lowest), pr_area(*highest)),
        "roc_auc": extended(drawn["roc_auc"], roc_area(*lowest), roc_area(*highest)),
    }
    for name, worst in _WORST.items():
        value, unseen = drawn[name].values, unseen_share(fewest, CONFIDENCE)
        bands[name] = extended(drawn[name], (1 - unseen) * value, (1 - unseen) * value + unseen * worst)
    flagged = right + wrong
    at_recall = np.searchsorted(right, _wanted_recalls(right))
    precision = share(right[at_recall], flagged[at_recall], CONFIDENCE)
    found = _most_within(right[None], wrong[None])[0]
    recall = share(found, np.array(right[-1]), CONFIDENCE)
    bands["pr_curve"], bands["roc_curve"] = drawn["pr_curve"].joined(precision), drawn["roc_curve"].joined(recall)
    return bands


def _over_thresholds(ranking: Ranking, grid: Values, plan: ReviewPlan) -> dict[str, Band]:
    right, wrong = (np.append(0, counts)[ranking.steps_at(grid)] for counts in ranking.counts())
    positives, negatives = (float(counts[-1]) for counts in ranking.counts())
    night = bounded_night(FlaggedCounts(right, wrong, positives, negatives), plan, CONFIDENCE)
    return {
        "recall": share(right, np.array(positives), CONFIDENCE),
        "false_positive_rate": share(wrong, np.array(negatives), CONFIDENCE),
        "precision": share(right, right + wrong, CONFIDENCE),
        "flags": night.flags,
        "right": night.right,
        "missed": night.missed,
        "nightly_precision": night.precision,
    }


def _precision_at_recalls(right: Values, wrong: Values) -> Values:
    """At each of CURVE_POINTS, the precision of the highest threshold that has that recall, [rows, points]."""
    precision, wanted = ratio(right, right + wrong), _wanted_recalls(right[0])
    rows = [own[np.searchsorted(found, wanted)] for found, own in zip(right, precision, strict=True)]
    return np.array(rows)


def _wanted_recalls(right: Values) -> Values:
    # Half an image below, since a recall times a number of images is rarely a whole number in floating point.
    wanted: Values = np.maximum(CURVE_POINTS * right[-1] - 1e-6, 0.5)
    return wanted


def _recall_at_false_alarms(right: Values, wrong: Values) -> Values:
    """At each of CURVE_POINTS, the recall of the lowest threshold with no more false alarms, [rows, points]."""
    return _most_within(right, wrong) / right[:, -1:]


def _most_within(right: Values, wrong: Values) -> Values:
    """At each of CURVE_POINTS as a share of false alarms, how many are found by then, [rows, points]."""
    before = np.concatenate([np.zeros((len(right), 1)), right], axis=1)
    allowed = CURVE_POINTS * wrong[0, -1] + 1e-6
    rows = [own[np.searchsorted(found, allowed, side="right")] for found, own in zip(wrong, before, strict=True)]
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
        near_duplicates=judgement.images.near_duplicates,
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
    """The bins with the interval of their share of drugs: that of the images, with the classes weighing the same."""
    truth = judgement.images.truth
    weight = float(np.sum(~truth) / np.sum(truth))
    bins = Reliability(truth, judgement.scores).bins()
    return tuple(
        ReliabilityFigures(
            one.low,
            one.high,
            one.images,
            one.mean_score,
            one.drugs_share,
            (_reweighted(float(found.low), weight), _reweighted(float(found.high), weight)),
        )
        for one in bins
        for found in [share(np.array(one.drugs), np.array(one.images), CONFIDENCE)]
    )


def _reweighted(drugs_share: float, weight: float) -> float:
    """A share of drugs where each drug weighs that much more than another image."""
    return weight * drugs_share / (weight * drugs_share + 1 - drugs_share)
