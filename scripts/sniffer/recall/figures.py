"""Prevalence, recall and precision of what was audited, each with its interval. Pure; randomness comes in.

The interval is that of the posterior (`posterior`), with 2.5 % beyond either end; beside it stands the estimate by
inverse probability weighting.
"""

from __future__ import annotations

import numpy as np

from sniffer.core.recall_records import MeasuredShare, RecallFigures
from sniffer.recall.cells import Cells, Counts
from sniffer.recall.design_bound import design_interval, weighted_sum
from sniffer.recall.gamma import Values
from sniffer.recall.posterior import Prior, posterior
from sniffer.recall.reviewers import Errors

CONFIDENCE = 0.95
DRAWS = 4000
_EACH = 1 - (1 - CONFIDENCE) / 2
"""Two intervals make the floor, so each has half of the error."""


def measured(cells: Cells, errors: Errors, prior: Prior, seed: np.random.Generator) -> RecallFigures:
    """The figures of these strata. A share of nothing, such as the precision of no flag, is None."""
    found = posterior(cells, errors, prior, len(errors.found), seed)
    inside, whole = found.drugs[:, cells.flagged].sum(axis=1), found.drugs.sum(axis=1)
    flagged, missed = (weighted_sum(cells.only(side)) for side in (cells.flagged, ~cells.flagged))
    images, flags = int(cells.population.sum()), int(cells.population[cells.flagged].sum())
    flags_low, _ = design_interval(cells.only(cells.flagged), _EACH, seed)
    _, missed_at_most = design_interval(cells.only(~cells.flagged), _EACH, seed)
    return RecallFigures(
        images=images,
        flagged=flags,
        labels=int(cells.labels.sum()),
        positives=int(cells.positives.sum()),
        prevalence=_share(whole, np.full_like(whole, images), flagged + missed, images),
        recall=_share(inside, whole, flagged, flagged + missed),
        precision=_share(inside, np.full_like(inside, flags), flagged, flags),
        recall_at_least=_floor(flags_low, missed_at_most),
        score_height=found.height,
        score_slope=found.slope,
    )


def _share(part: Counts, whole: Counts, weighted: float, weighted_whole: float) -> MeasuredShare | None:
    """The share in every draw in which it is one of something; None without any."""
    defined: Values = part[whole > 0] / whole[whole > 0]
    if not len(defined):
        return None
    tail = 100 * (1 - CONFIDENCE) / 2
    low, middle, high = (float(value) for value in np.percentile(defined, [tail, 50, 100 - tail]))
    return MeasuredShare(middle, low, high, min(weighted / weighted_whole, 1.0) if weighted_whole > 0 else None)


def _floor(flagged: float, missed_at_most: float) -> float | None:
    return flagged / (flagged + missed_at_most) if flagged + missed_at_most > 0 else None
