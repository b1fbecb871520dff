"""Two models on the same images: each figure of both, and the interval of their difference on the same draws. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sniffer.core.gate_records import ModelComparison, PairedFigure, SliceComparison
from sniffer_model.evaluation.figures import CONFIDENCE, rates_at, share_flagged
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
from sniffer_model.statistics.review_load import ReviewPlan, nightly_load

ERROR_RATE = 0.05
"""How often a candidate that is only as good as the stable model may look better. One end of a 95 % interval is wrong
half as often; the rest allows for percentile intervals of small test splits, which are too narrow."""


@dataclass(frozen=True, slots=True)
class Rival:
    """One model on the images: its scores, and the threshold at which it flags them."""

    scores: Scores
    threshold: float


def compare(
    truth: Truth,
    kinds: Sequence[tuple[str, str]],
    candidate: Rival,
    stable: Rival,
    plan: ReviewPlan,
    resampling: Resampling,
) -> ModelComparison:
    """Compare on `kinds` (label and slice) of images; raises ValueError unless both classes are there."""
    counts = sorted(Counter(kinds).items())
    members = np.array([[kind == own for kind, _ in counts] for own in kinds], float)
    of_candidate, of_stable = (_figures(truth, rival, members, plan) for rival in (candidate, stable))

    def paired(drawn: Drawn) -> dict[str, Values]:
        ours, theirs = of_candidate(drawn), of_stable(drawn)
        return {name: np.stack([ours[name], theirs[name], ours[name] - theirs[name]], axis=-1) for name in ours}

    bands = bootstrap(truth, paired, resampling, CONFIDENCE)
    slices = tuple(
        SliceComparison(label, name, images, _paired_figure(bands["flagged_by_slice"], row))
        for row, ((label, name), images) in enumerate(counts)
    )
    overall = {name: _paired_figure(bands[name]) for name in _OVERALL}
    return ModelComparison(images=len(truth), slices=slices, **overall)


_OVERALL = ("pr_auc", "roc_auc", "recall", "nightly_precision", "flags_per_night")


def _figures(truth: Truth, rival: Rival, members: Values, plan: ReviewPlan) -> Callable[[Drawn], Mapping[str, Values]]:
    ranking = Ranking(truth, rival.scores)
    steps = ranking.steps_at(np.array([rival.threshold]))
    by_slice = share_flagged(members, rival.scores >= rival.threshold)

    def figures(drawn: Drawn) -> dict[str, Values]:
        right, wrong = ranking.counts(drawn)
        recall, false_alarms = (rates[:, 0] for rates in rates_at(right, wrong, steps))
        night = nightly_load(recall, false_alarms, plan)
        return {
            "pr_auc": pr_area(right, wrong),
            "roc_auc": roc_area(right, wrong),
            "recall": recall,
            "nightly_precision": night.precision,
            "flags_per_night": night.flags,
            **by_slice(drawn),
        }

    return figures


def _paired_figure(band: Band, *index: int) -> PairedFigure:
    candidate, stable, difference = (band.estimate(*index, part) for part in range(3))
    return PairedFigure(
        None if candidate is None else candidate.value, None if stable is None else stable.value, difference
    )
