"""Measured recall: what audits of a scan say of the model in production, as it is kept and reported."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class MeasuredShare:
    """A share with its 95 % interval. `value` is the posterior's median, which lies in it.

    `weighted` is the estimate by inverse probability weighting, which is right on average over all samples; where few
    positives were found, it may lie outside. None: of nothing.
    """

    value: float
    low: float
    high: float
    weighted: float | None


@dataclass(frozen=True, slots=True)
class RecallFigures:
    """What the labels of a sample say. A share of nothing, such as the precision of no flag, is None.

    `images` are in the frame, `flagged` of them at or above the threshold; `labels` were drawn and decided, `positives`
    of those are drugs. `recall_at_least` takes nothing from the scores: the labels alone exclude a lower recall.
    """

    images: int
    flagged: int
    labels: int
    positives: int
    prevalence: MeasuredShare | None
    recall: MeasuredShare | None
    precision: MeasuredShare | None
    recall_at_least: float | None


@dataclass(frozen=True, slots=True)
class MeasuredRecall:
    """Figures of the nights from `first_night` to `night`, for one model version at one threshold.

    `bucket` is empty for all buckets, `slice` for all kinds of drugs, else one of the reviewers' reasons. `undecided`
    were drawn and have no decision that counts; `disputed` of these wait for a lead. `pairs` were decided by two.
    """

    night: date
    first_night: date
    model_version: int
    threshold: float
    bucket: str
    slice: str
    figures: RecallFigures
    undecided: int
    disputed: int
    pairs: int
    method: str
