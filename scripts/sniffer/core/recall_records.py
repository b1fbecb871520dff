"""Measured recall: what audits of a scan say of the model in production, as it is kept and reported."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from sniffer.core.sample_records import NightlySample

DRIFT_DAYS = 35
"""A bucket that was not scanned for so long has no newest night any more."""

ALL = ""
"""Every bucket, or every kind of drugs."""


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
    `score_height` and `score_slope`: ln(odds) of drugs are about height + slope * ln(odds) of the score.
    """

    images: int
    flagged: int
    labels: int
    positives: int
    prevalence: MeasuredShare | None
    recall: MeasuredShare | None
    precision: MeasuredShare | None
    recall_at_least: float | None
    score_height: float
    score_slope: float


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


@dataclass(frozen=True, slots=True)
class RecallFrame:
    """A scan whose certificate holds, as the frame of a sample: what it has scored, and how much of that is flagged.

    `parts` are the numbers of the scans that wrote the scores: its own, or those of its shards.
    """

    scan_number: int
    scan_id: str
    bucket: str
    night: date
    model_version: int
    threshold: float
    scored: int
    flagged: int
    parts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DrawPlan:
    """How frames are drawn from, all of them together.

    `key` orders the images of a stratum; `labels` are to be drawn; `prior` says where height and slope come from.
    """

    key: bytes
    labels: int
    height: float
    slope: float
    prior: str


@dataclass(frozen=True, slots=True)
class FrameDraw:
    """What was drawn of one frame, and what its scores were, by stratum and as a histogram of their log-odds."""

    frame: RecallFrame
    sample: NightlySample
    mean_log_odds: tuple[float, ...]
    histogram: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class KeptDraw:
    """A draw that is done: its frame's scores by stratum and as a histogram of their log-odds."""

    scan_number: int
    bucket: str
    night: date
    scored: int
    flagged: int
    mean_log_odds: tuple[float, ...]
    histogram: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DrawnSample:
    """What was drawn of one scan. `is_new`: it was not drawn before."""

    scan_id: str
    bucket: str
    night: date
    scored: int
    flagged: int
    drawn: int
    prior: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class LeftOutScan:
    """A scan that cannot be drawn from, and why."""

    scan_id: str
    problem: str


@dataclass(frozen=True, slots=True)
class DrawnSamples:
    """The result of `sniffer recall draw`."""

    model_version: int
    threshold: float
    samples: tuple[DrawnSample, ...]
    left_out: tuple[LeftOutScan, ...]


@dataclass(frozen=True, slots=True)
class DriftTest:
    """The newest night of a bucket against its past.

    `p_value` is how likely a night of the past would be at least as far off; None while there are too few nights. It is
    an alarm below `alarm_below`.
    """

    bucket: str
    night: date
    kind: str
    value: float
    usual: float | None
    p_value: float | None
    alarm_below: float
    nights: int

    @property
    def is_alarm(self) -> bool:
        """Whether somebody should look."""
        return self.p_value is not None and self.p_value < self.alarm_below


@dataclass(frozen=True, slots=True)
class RecallReport:
    """The result of `sniffer recall measure`: the figures, all first, and how the newest night differs.

    `missing` says why there are no figures, and is empty where there are.
    """

    model_version: int
    threshold: float
    measured: tuple[MeasuredRecall, ...]
    drift: tuple[DriftTest, ...]
    alarms: tuple[str, ...]
    missing: str = ""
