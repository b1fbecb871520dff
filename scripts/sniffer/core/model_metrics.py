"""How good a trained model is: metrics.json of a training, and the column `models.metrics`.

Every score, threshold and figure is of calibrated scores. Shares are from 0 to 1. None stands for a figure that is
undefined, such as the precision where nothing is flagged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

Ends = tuple[float, float]
"""The lower and the upper end of an interval."""


@dataclass(frozen=True, slots=True)
class IntervalEstimate:
    """A figure and the ends of its interval: exact for shares and what follows from them, of a bootstrap otherwise."""

    value: float
    low: float
    high: float

    @property
    def ends(self) -> Ends:
        """The interval alone."""
        return self.low, self.high


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of flagged and unflagged images at one threshold."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def precision(self) -> float | None:
        """Share of the flagged that is right; None when nothing is flagged."""
        flagged = self.true_positives + self.false_positives
        return self.true_positives / flagged if flagged else None

    @property
    def recall(self) -> float | None:
        """Share of the positives that is flagged; None without positives."""
        positives = self.true_positives + self.false_negatives
        return self.true_positives / positives if positives else None


@dataclass(frozen=True, slots=True)
class NightFigures:
    """What one night is expected to bring: flags, those that are right, drugs missed, and the flags' precision."""

    flags_per_night: IntervalEstimate
    right: IntervalEstimate
    missed: IntervalEstimate
    precision: IntervalEstimate | None


@dataclass(frozen=True, slots=True)
class ThresholdFigures:
    """The figures at one threshold."""

    threshold: float
    precision: IntervalEstimate | None
    recall: IntervalEstimate
    false_positive_rate: IntervalEstimate
    night: NightFigures


@dataclass(frozen=True, slots=True)
class SliceFigures:
    """The share flagged of a slice's images: recall among drugs, the false alarm rate among the others."""

    label: str
    slice: str
    images: int
    share_flagged: IntervalEstimate | None


@dataclass(frozen=True, slots=True)
class ReliabilityFigures:
    """Images whose scores lie in [low, high): their mean score, and the share of drugs; both classes weigh the same."""

    low: float
    high: float
    images: int
    mean_score: float
    drugs_share: float
    drugs_share_interval: Ends


@dataclass(frozen=True, slots=True)
class FigureIntervals:
    """The intervals of the figures of the same name."""

    pr_auc: Ends
    roc_auc: Ends
    log_loss: Ends
    log_loss_uncalibrated: Ends
    calibration_error: Ends
    calibration_error_uncalibrated: Ends
    precision: Ends | None
    recall: Ends
    false_positive_rate: Ends


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """The figures of one split; those that depend on a threshold are at the chosen one."""

    images: int
    pr_auc: float
    roc_auc: float
    log_loss: float
    log_loss_uncalibrated: float
    calibration_error: float
    calibration_error_uncalibrated: float
    precision: float | None
    recall: float
    false_positive_rate: float
    intervals: FigureIntervals
    confusion: Confusion
    night: NightFigures
    flags_per_false_alarm: float
    """How many flags a night one false alarm in this split stands for: no finer figure can be known."""
    near_duplicates: int = field(default=0, kw_only=True)
    """Images that are not judged because a near-duplicate of theirs is."""


@dataclass(frozen=True, slots=True)
class SplitMetrics(SplitSummary):
    """The figures of one split, with those by threshold, by slice and by score."""

    thresholds: tuple[ThresholdFigures, ...]
    slices: tuple[SliceFigures, ...]
    reliability: tuple[ReliabilityFigures, ...]


@dataclass(frozen=True, slots=True)
class BackboneOrigin:
    """Where the backbone's weights came from (`imagenet`, `random` or a file), and their hex SHA-256."""

    weights: str
    digest: str


@dataclass(frozen=True, slots=True)
class BootstrapSettings:
    """How the intervals were drawn."""

    seed: int
    resamples: int
    confidence: float


@dataclass(frozen=True, slots=True)
class ReviewAssumptions:
    """The assumed night: share of drugs, images, and how many people can review, None if unknown."""

    prevalence: float
    nightly_volume: int
    capacity: float | None


@dataclass(frozen=True, slots=True)
class ModelOrigin:
    """What the model was made from, and how its scores become flags. Digests are hex SHA-256.

    `sizes` counts images by split and label. `threshold_by` names the rule that chose the threshold, `threshold_rule`
    says it in words; `threshold_rule_kept` and `target_precision_reached` are of the validation split.
    """

    manifest_digest: str
    training_digest: str
    backbone: BackboneOrigin
    head_digest: str
    preprocessing_version: str
    seed: int
    sizes: Mapping[str, Mapping[str, int]]
    images_left_out: int
    bootstrap: BootstrapSettings
    temperature: float
    threshold: float
    threshold_rule: str
    threshold_by: str
    threshold_rule_kept: bool
    target_precision: float
    target_precision_reached: bool
    review: ReviewAssumptions


@dataclass(frozen=True, slots=True)
class MetricsSummary(ModelOrigin):
    """What a log or an event can hold of ModelMetrics: without the validation split, curves and slices."""

    test: SplitSummary


@dataclass(frozen=True, slots=True)
class ModelMetrics(ModelOrigin):
    """All figures. The threshold and the temperature come from the validation split, quality from the test split."""

    validation: SplitMetrics
    test: SplitMetrics

    def summary(self) -> MetricsSummary:
        """Without the validation split, curves and slices."""
        test = SplitSummary(**{each.name: getattr(self.test, each.name) for each in fields(SplitSummary)})
        return MetricsSummary(**{each.name: getattr(self, each.name) for each in fields(ModelOrigin)}, test=test)
