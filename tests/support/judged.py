"""Records of the evaluation and the gate with made-up figures, for tests of what stores and shows them."""

from __future__ import annotations

from sniffer.core.changed_images import PICTURE_PREFIX, ChangedImage, ChangedImages
from sniffer.core.gate_records import Check, GateEvidence, GateFigures, GateVerdict
from sniffer.core.model_metrics import (
    BackboneOrigin,
    BootstrapSettings,
    Confusion,
    FigureIntervals,
    IntervalEstimate,
    ModelMetrics,
    NightFigures,
    ReliabilityFigures,
    ReviewAssumptions,
    SliceFigures,
    SplitMetrics,
    ThresholdFigures,
)

PIXEL = (
    "/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAP//////////////////////////////////////////////////////////////////////////////"
    "////////wAALCAABAAEBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAA//EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AN//Z"
)
"""A JPEG, in base64."""
EVIDENCE = GateEvidence(
    class_images={split: {"other": 500, "drugs": 120} for split in ("validation", "test")},
    recall=IntervalEstimate(0.8, 0.7, 0.9),
    nightly_precision=IntervalEstimate(0.6, 0.5, 0.7),
    flags_per_night=IntervalEstimate(900.0, 800.0, 1200.0),
    flags_per_false_alarm=198.0,
    threshold_by="capacity",
    target_precision=0.95,
    night=ReviewAssumptions(0.01, 100_000, 1000.0),
    confidence=0.95,
)
FIGURES = GateFigures(0.95, 0.97, 0.8, 0.6, 900.0, 1000.0, "the rule", True, None, EVIDENCE)
"""Figures that the gate blesses by its default limits, while there is no stable model."""


def estimate(value: float) -> IntervalEstimate:
    return IntervalEstimate(value, value - 0.01, value + 0.01)


def split_metrics(pr_auc: float) -> SplitMetrics:
    ends = (0.1, 0.9)
    night = NightFigures(estimate(20.0), estimate(18.0), estimate(2.0), None)
    return SplitMetrics(
        images=100,
        pr_auc=pr_auc,
        roc_auc=0.99,
        log_loss=0.2,
        log_loss_uncalibrated=0.3,
        calibration_error=0.02,
        calibration_error_uncalibrated=0.05,
        precision=None,
        recall=0.9,
        false_positive_rate=0.0,
        intervals=FigureIntervals(ends, ends, ends, ends, ends, ends, None, ends, ends),
        confusion=Confusion(45, 0, 5, 50),
        night=night,
        flags_per_false_alarm=1980.0,
        thresholds=(ThresholdFigures(0.4, None, estimate(0.9), estimate(0.0), night),),
        slices=(SliceFigures("drugs", "", 50, estimate(0.9)),),
        reliability=(ReliabilityFigures(0.9, 1.0, 45, 0.95, 0.97, ends),),
    )


def model_metrics(pr_auc: float = 0.9) -> ModelMetrics:
    """Figures of a model that was never trained."""
    return ModelMetrics(
        manifest_digest="m" * 64,
        training_digest="t" * 64,
        backbone=BackboneOrigin("random", "b" * 64),
        head_digest="h" * 64,
        preprocessing_version="p1",
        seed=0,
        sizes={split: {"other": 50, "drugs": 50} for split in ("train", "validation", "test")},
        images_left_out=0,
        bootstrap=BootstrapSettings(0, 1000, 0.95),
        temperature=1.0,
        threshold=0.4,
        threshold_rule="a rule",
        threshold_by="target_precision",
        threshold_rule_kept=True,
        target_precision=0.95,
        target_precision_reached=True,
        review=ReviewAssumptions(0.01, 100_000, None),
        validation=split_metrics(pr_auc),
        test=split_metrics(pr_auc),
    )


def changed_images(*scores: tuple[float, float], stable_version: int = 1) -> ChangedImages:
    """A version that decides images with these scores differently: by the stable version, and by the candidate."""
    images = tuple(
        ChangedImage("drugs", "<pills & more>", stable, candidate, candidate > stable, f"{PICTURE_PREFIX}{PIXEL}")
        for stable, candidate in scores
    )
    now = sum(one.flagged_now for one in images)
    return ChangedImages(stable_version, 200, now, len(images) - now, images)


def gate_verdict(*, blessed: bool = True, reason: str = "better") -> GateVerdict:
    """A verdict for that reason."""
    return GateVerdict(
        blessed=blessed,
        reasons=(reason,),
        checks=(Check("a rule", blessed, reason),),
        overridden_by=None,
        override_reason=None,
        stable_version=None,
        version=3,
        manifest_digest="m" * 64,
        training_digest="t" * 64,
        figures=FIGURES,
        candidate_digest="c" * 64,
    )
