"""`sniffer model evaluate`: judge the trained model on the test split, calibrate it,
choose its threshold.

In: a complete training in the workdir. Out, in the workdir: metrics.json, model_card.md and report.html.
Temperature and threshold come from the validation split, the figures of quality from the test split. Every score,
threshold and figure is of calibrated scores.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sniffer.core.errors import SettingsError
from sniffer.core.files import write_json, write_text
from sniffer.core.model_metrics import BackboneOrigin, BootstrapSettings, ModelMetrics, ReviewAssumptions
from sniffer.core.model_records import LABELS
from sniffer.core.parser import Parser
from sniffer.core.program import Program, ProgramResult
from sniffer.core.settings import ImageSettings, image_settings
from sniffer_model.data.manifest import Split, read_manifest
from sniffer_model.data.source import ImageSource, open_source
from sniffer_model.evaluation.evaluated_run import check_trained, score_splits
from sniffer_model.evaluation.figures import CONFIDENCE, Operation, ScoredImages, SplitFigures, judge, split_metrics
from sniffer_model.release.model_card import model_card
from sniffer_model.statistics.calibration import MAX_TEMPERATURE, MIN_TEMPERATURE, calibrated, fit_temperature
from sniffer_model.statistics.metrics import Resampling
from sniffer_model.statistics.review_load import ReviewPlan, ThresholdChoice, choose_threshold
from sniffer_model.steps import ENVIRONMENT, add_feature_cache, add_workdir
from sniffer_model.workdir import TrainingRecord, Workdir, read_training

log = logging.getLogger(__name__)

MISTAKES_SHOWN = 12
"""Of each kind, in the report."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the model is judged for, and by which draws."""

    plan: ReviewPlan
    resampling: Resampling


def evaluate(workdir: Workdir, cache_root: Path, options: Options, limits: ImageSettings) -> ModelMetrics:
    """Compute the metrics; write them, the model card and the report. The same input gives the same files."""
    manifest, training = read_manifest(workdir.manifest), read_training(workdir)
    check_trained(workdir, manifest, training)
    scored = score_splits(workdir, manifest, training, cache_root, limits, (Split.VALIDATION, Split.TEST))
    operation, choice = _operation(scored[Split.VALIDATION], options.plan)
    judgements = {split: judge(images, operation, options.resampling) for split, images in scored.items()}
    metrics = _metrics(training, choice, judgements, options)
    page = _report(metrics, judgements[Split.TEST], open_source(manifest.source), limits)
    write_text(workdir.report, page, private=True)
    write_text(workdir.model_card, model_card(metrics))
    # Last: the steps that follow read this one.
    write_json(workdir.metrics, metrics)
    return metrics


def _report(metrics: ModelMetrics, test: SplitFigures, source: ImageSource, limits: ImageSettings) -> str:
    # Here since it needs TensorFlow, see score_splits().
    from sniffer_model.evaluation.mistakes import worst_mistakes
    from sniffer_model.evaluation.report import render_report

    missed, alarms = worst_mistakes(test, source, limits, MISTAKES_SHOWN)
    return render_report(metrics, test, missed, alarms)


def _operation(validation: ScoredImages, plan: ReviewPlan) -> tuple[Operation, ThresholdChoice]:
    temperature = fit_temperature(validation.truth, validation.scores)
    if temperature in (MIN_TEMPERATURE, MAX_TEMPERATURE):
        log.warning("the temperature that calibrates the scores is at its bound, %g", temperature)
    choice = choose_threshold(validation.truth, calibrated(validation.scores, temperature), plan)
    if not choice.kept:
        log.warning("no threshold keeps to the rule on the validation split: %s", plan.in_words())
    return Operation(temperature, choice.threshold, plan), choice


def _metrics(
    training: TrainingRecord, choice: ThresholdChoice, judgements: Mapping[Split, SplitFigures], options: Options
) -> ModelMetrics:
    test, plan, draws = judgements[Split.TEST], options.plan, options.resampling
    return ModelMetrics(
        manifest_digest=training.manifest_digest,
        training_digest=training.digest,
        backbone=BackboneOrigin(training.backbone_weights, training.backbone_digest),
        head_digest=training.head_digest,
        preprocessing_version=training.preprocessing_version,
        seed=training.seed,
        sizes={**training.sizes, **{split: _sizes(judged.images) for split, judged in judgements.items()}},
        images_left_out=training.images_left_out + test.images.left_out,
        bootstrap=BootstrapSettings(draws.seed, draws.resamples, CONFIDENCE),
        temperature=test.operation.temperature,
        threshold=choice.threshold,
        threshold_rule=plan.in_words(),
        threshold_by=choice.rule,
        threshold_rule_kept=choice.kept,
        target_precision=plan.target_precision,
        target_precision_reached=choice.target_precision_reached,
        review=ReviewAssumptions(plan.prevalence, plan.nightly_volume, plan.capacity),
        validation=split_metrics(judgements[Split.VALIDATION]),
        test=split_metrics(test),
    )


def _sizes(images: ScoredImages) -> dict[str, int]:
    return {label: sum(entry.label == label for entry in images.entries) for label in LABELS}


def _add_arguments(parser: Parser) -> None:
    default, draws = ReviewPlan(), Resampling()
    add_workdir(parser, ", trained")
    add_feature_cache(parser)
    parser.add_argument(
        "--prevalence", type=float, default=default.prevalence, help="assumed share of drugs among a night's images"
    )
    parser.add_argument("--nightly-volume", type=int, default=default.nightly_volume, help="images scanned per night")
    parser.add_argument(
        "--capacity", type=float, help="reviews per night; when given, it chooses the threshold, not the precision"
    )
    parser.add_argument(
        "--target-precision",
        type=float,
        default=default.target_precision,
        help="share of a night's flags that must be right; chooses the threshold where no capacity is given",
    )
    parser.add_argument("--seed", type=int, default=draws.seed, help="seed of the bootstrap")
    parser.add_argument("--resamples", type=int, default=draws.resamples, help="draws of the bootstrap")


def _run(arguments: argparse.Namespace) -> ProgramResult:
    metrics = evaluate(Workdir(arguments.workdir), arguments.feature_cache, _options(arguments), image_settings())
    log.info("test split: ROC-AUC %.4f, PR-AUC %.4f", metrics.test.roc_auc, metrics.test.pr_auc)
    return ProgramResult(metrics.summary())


def _options(arguments: argparse.Namespace) -> Options:
    if arguments.seed < 0:
        raise SettingsError(f"--seed must not be negative, not {arguments.seed}")
    if arguments.resamples < 100:
        raise SettingsError(f"--resamples must be at least 100, not {arguments.resamples}")
    plan = ReviewPlan(arguments.prevalence, arguments.nightly_volume, arguments.capacity, arguments.target_precision)
    return Options(plan, Resampling(arguments.seed, arguments.resamples))


PROGRAM = Program(
    command="sniffer model evaluate",
    summary="Judge the trained model on the test split, calibrate its scores, and choose the threshold from which an "
    "image is flagged. Writes metrics.json, model_card.md and report.html to the workdir, and prints the most "
    "important figures as one JSON line.",
    run=_run,
    add_arguments=_add_arguments,
    examples=(
        "sniffer model evaluate --workdir runs/1 --feature-cache features --nightly-volume 4000000 --capacity 3000",
    ),
    environment=ENVIRONMENT,
    extra="trainer",
    hands_on=True,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
