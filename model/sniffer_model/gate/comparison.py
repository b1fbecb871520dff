"""Two models on the same images: each figure of both, and the interval of their difference. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sniffer.core.gate_records import ModelComparison, PairedFigure, SliceComparison
from sniffer.core.model_metrics import IntervalEstimate
from sniffer.core.model_records import LABELS
from sniffer_model.evaluation.figures import CONFIDENCE
from sniffer_model.statistics.metrics import (
    Band,
    Drawn,
    Ranking,
    Resampling,
    Scores,
    Truth,
    Values,
    bootstrap,
    pr_area,
    roc_area,
)
from sniffer_model.statistics.review_load import FlaggedCounts, ReviewPlan, bounded_night, nightly_load
from sniffer_model.statistics.shares import loss_p_value, paired_difference
from sniffer_model.statistics.unseen import unseen_ranking

ERROR_RATE = 0.05
"""How often a candidate that is only as good as the stable model may look better, and how often it may look worse by
whatever is compared, slices included. One end of a 95 % interval is wrong half as often; the rest allows for percentile
intervals of small test splits, which are too narrow."""


@dataclass(frozen=True, slots=True)
class Rival:
    """One model on the images: its scores, and the threshold at which it flags them."""

    scores: Scores
    threshold: float

    @property
    def flagged(self) -> Truth:
        """Which images it flags."""
        return self.scores >= self.threshold


def compare(
    truth: Truth,
    kinds: Sequence[tuple[str, str]],
    candidate: Rival,
    stable: Rival,
    plan: ReviewPlan,
    resampling: Resampling,
    weights: Values | None = None,
) -> ModelComparison:
    """Compare on images of these `kinds` (label and slice), none a near-duplicate of another.

    Areas and a night's precision have paired bootstrap intervals, and weigh each image by `weights`; what counts images
    has exact ones, the p-value of a loss, and no weights. Raises ValueError unless both classes are there.
    """
    drawn = _drawn(truth, candidate, stable, plan, resampling, np.ones(len(truth)) if weights is None else weights)
    flags = _PairedFlags(candidate.flagged, stable.flagged)
    own = {kind: np.array([kind == one for one in kinds]) for kind in sorted(set(kinds))}
    return ModelComparison(
        images=len(truth),
        pr_auc=drawn["pr_auc"],
        roc_auc=drawn["roc_auc"],
        recall=flags.share(truth, is_loss_to_flag=False),
        nightly_precision=drawn["nightly_precision"],
        flags_per_night=flags.per_night(truth, plan),
        slices=tuple(
            SliceComparison(label, name, int(members.sum()), flags.share(members, is_loss_to_flag=label != LABELS[1]))
            for (label, name), members in own.items()
        ),
    )


def class_weights(chances: Sequence[float], truth: Truth) -> Values:
    """How much each image counts, by the chance with which it came to be labelled: 1 / chance, on average 1 in a class.

    Reviewers label what the stable model flags, and little of the rest: all of its mistakes above the threshold, and
    few of anybody else's, so that without weights any other model looks better than it is. Within each class, since
    nobody knows of how many images the labels of one's own are a sample.
    """
    weights: Values = 1 / np.asarray(chances, dtype=np.float64)
    for members in (truth, ~truth):
        weights[members] /= weights[members].mean()
    return weights


@dataclass(frozen=True, slots=True)
class _PairedFlags:
    """Which images each of two models flags."""

    ours: Truth
    theirs: Truth

    def share(self, members: Truth, *, is_loss_to_flag: bool) -> PairedFigure:
        """The share flagged of those images, and how likely the loss would be between two equal models."""
        more, fewer = self._differing(members)
        images = np.array(float(members.sum()))
        lost, gained = (more, fewer) if is_loss_to_flag else (fewer, more)
        return PairedFigure(
            float(np.sum(self.ours & members) / images),
            float(np.sum(self.theirs & members) / images),
            paired_difference(np.array(more), np.array(fewer), images, CONFIDENCE).defined(),
            loss_p_value(lost, gained),
        )

    def per_night(self, truth: Truth, plan: ReviewPlan) -> PairedFigure:
        """Flags per night; the ends of the difference are those of both classes' differences together."""
        each = 1 - (1 - CONFIDENCE) / 2
        drugs = plan.nightly_volume * plan.prevalence
        flags, change = np.zeros(2), np.zeros(3)
        for members, images in ((truth, drugs), (~truth, plan.nightly_volume - drugs)):
            share = self.share(members, is_loss_to_flag=False)
            flags += images * np.array([share.candidate, share.stable])
            more, fewer = self._differing(members)
            found = paired_difference(np.array(more), np.array(fewer), np.array(float(members.sum())), each)
            change += images * np.array([found.values, found.low, found.high])
        return PairedFigure(float(flags[0]), float(flags[1]), IntervalEstimate(*map(float, change)))

    def _differing(self, members: Truth) -> tuple[int, int]:
        """How many of those images only the first model flags, and how many only the second."""
        return int(np.sum(self.ours & ~self.theirs & members)), int(np.sum(self.theirs & ~self.ours & members))


_NIGHTLY_PRECISION = "nightly_precision"


def _drawn(
    truth: Truth, candidate: Rival, stable: Rival, plan: ReviewPlan, resampling: Resampling, weights: Values
) -> dict[str, PairedFigure]:
    rankings = [Ranking(truth, rival.scores) for rival in (candidate, stable)]
    ours, theirs = (
        _figures(ranking, ranking.steps_at(np.array([rival.threshold])), plan)
        for ranking, rival in zip(rankings, (candidate, stable), strict=True)
    )

    def paired(drawn: Drawn) -> dict[str, Values]:
        one, other = ours(drawn * weights), theirs(drawn * weights)
        return {name: np.stack([one[name], other[name], one[name] - other[name]], axis=-1) for name in one}

    bands = bootstrap(truth, paired, resampling, CONFIDENCE)
    alone = [_alone(ranking, rival, truth, plan) for ranking, rival in zip(rankings, (candidate, stable), strict=True)]
    return {name: _paired_figure(band, alone[0][name], alone[1][name]) for name, band in bands.items()}


def _figures(ranking: Ranking, steps: NDArray[np.intp], plan: ReviewPlan) -> Callable[[Drawn], Mapping[str, Values]]:
    def figures(drawn: Drawn) -> dict[str, Values]:
        right, wrong = ranking.counts(drawn)
        recall, false_alarms = (
            np.concatenate([np.zeros((len(counts), 1)), counts], axis=1)[:, steps[0]] / counts[:, -1]
            for counts in (right, wrong)
        )
        return {
            "pr_auc": pr_area(right, wrong),
            "roc_auc": roc_area(right, wrong),
            _NIGHTLY_PRECISION: nightly_load(recall, false_alarms, plan).precision,
        }

    return figures


def _alone(ranking: Ranking, rival: Rival, truth: Truth, plan: ReviewPlan) -> dict[str, tuple[float, float]]:
    """How low and how high each figure of one model may be, by the images that nobody has seen yet."""
    worst, best = unseen_ranking(ranking, CONFIDENCE)
    right, wrong = (np.array(float(np.sum(rival.flagged & members))) for members in (truth, ~truth))
    counts = FlaggedCounts(right, wrong, float(truth.sum()), float((~truth).sum()))
    night = bounded_night(counts, plan, CONFIDENCE)
    return {
        "pr_auc": (float(pr_area(*worst)), float(pr_area(*best))),
        "roc_auc": (float(roc_area(*worst)), float(roc_area(*best))),
        _NIGHTLY_PRECISION: (float(night.precision.low), float(night.precision.high)),
    }


def _paired_figure(band: Band, ours: tuple[float, float], theirs: tuple[float, float]) -> PairedFigure:
    candidate, stable, difference = (band.estimate(part) for part in range(3))
    if difference is not None and difference.low == difference.high:
        # Every draw gives the same: what the models are alone is all that can be said of their difference.
        difference = IntervalEstimate(
            difference.value,
            min(difference.low, ours[0] - theirs[1]),
            max(difference.high, ours[1] - theirs[0]),
        )
    return PairedFigure(
        None if candidate is None else candidate.value, None if stable is None else stable.value, difference
    )
