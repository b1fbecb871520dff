"""Judges an evaluated candidate beside the stable model, and records the verdict in its workdir and in `models`."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from sniffer.adapters.mysql.database import Database
from sniffer.core.changed_images import ChangedImages
from sniffer.core.errors import SettingsError
from sniffer.core.files import read_text, write_json, write_text
from sniffer.core.gate_records import GateEvidence, GateFigures, GateVerdict, ModelComparison
from sniffer.core.model_metrics import Confusion, IntervalEstimate, ModelMetrics
from sniffer.core.model_records import LABELS, ModelRecord, ModelStatus
from sniffer.core.settings import ImageSettings
from sniffer.core.temporary import temporary_folder
from sniffer_model.data.manifest import Manifest, Split, read_manifest
from sniffer_model.data.source import open_source
from sniffer_model.evaluation.evaluated_run import candidate_digest, check_trained, read_metrics, score_splits
from sniffer_model.evaluation.report_sections import with_verdict
from sniffer_model.gate.changed_images import changed_images
from sniffer_model.gate.comparison import Rival, class_weights, compare
from sniffer_model.gate.limits import Limits
from sniffer_model.gate.night import JudgedNight, judged_night
from sniffer_model.gate.verdict import GateDecision, Override, decide
from sniffer_model.gate.verdict_for_report import judged_for_report
from sniffer_model.release.model_base import open_model_base
from sniffer_model.release.publish import read_facts
from sniffer_model.statistics.calibration import calibrated
from sniffer_model.statistics.metrics import Resampling
from sniffer_model.statistics.review_load import ReviewPlan
from sniffer_model.workdir import TrainingRecord, Workdir, read_training

PREVALENCE_DAYS = 35
"""So old may the audits be whose prevalence takes the place of the assumed one."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An evaluated workdir, whose files belong together."""

    workdir: Workdir
    manifest: Manifest
    training: TrainingRecord
    metrics: ModelMetrics

    @property
    def digest(self) -> str:
        """What a version is reserved for: this training at this threshold."""
        return candidate_digest(self.metrics)

    @property
    def plan(self) -> ReviewPlan:
        """The night that it was evaluated for."""
        review = self.metrics.review
        return ReviewPlan(review.prevalence, review.nightly_volume, review.capacity, self.metrics.target_precision)

    def record(self) -> ModelRecord:
        """The candidate as `models` holds it before it has a version, an export or a verdict."""
        return ModelRecord(
            version=0,
            digest="",
            backbone_digest=self.training.backbone_digest,
            preprocessing_version=self.training.preprocessing_version,
            threshold=self.metrics.threshold,
            status=ModelStatus.CANDIDATE,
            candidate_digest=self.digest,
        )


@dataclass(frozen=True, slots=True)
class StableModel:
    """The version in production: where its files are, and the threshold at which it flags."""

    version: int
    directory: Path
    threshold: float


@dataclass(frozen=True, slots=True)
class BesideStable:
    """The candidate beside the stable version: the figures of both, and the images that they decide differently."""

    stable_version: int
    comparison: ModelComparison
    changed: ChangedImages


@dataclass(frozen=True, slots=True)
class GateOptions:
    """How a candidate is judged. `model_base` is where the stable model is published, None while there is none.

    `stable_version` names the stable model where no database does. A measured prevalence counts for `prevalence_days`.
    """

    limits: Limits
    override: Override | None
    feature_cache: Path
    model_base: str | None
    images: ImageSettings
    stable_version: int | None = None
    prevalence_days: int = PREVALENCE_DAYS


def read_candidate(workdir: Workdir) -> Candidate:
    """Read the workdir; raises ContractError when its files are of different trainings."""
    manifest, training = read_manifest(workdir.manifest), read_training(workdir)
    check_trained(workdir, manifest, training)
    return Candidate(workdir, manifest, training, read_metrics(workdir, training))


def judge(candidate: Candidate, options: GateOptions, database: Database | None) -> GateVerdict:
    """Judge the candidate, reserve a version for it, and write the verdict to the workdir and the database.

    Without a database no version is reserved, and only the workdir gets the verdict. Idempotent.
    """
    measured = None
    if database is not None and options.prevalence_days:
        measured = database.recall.prevalence(datetime.now(UTC), options.prevalence_days)
    night = judged_night(candidate.metrics, candidate.plan, measured)
    beside = _compare(candidate, options, database, night.plan)
    stable_version, comparison, changed = (
        (None, None, None) if beside is None else (beside.stable_version, beside.comparison, beside.changed)
    )
    figures = gate_figures(candidate, comparison, night)
    decision = decide(figures, options.limits, options.override)
    record = candidate.record()
    version = None
    if database is not None:
        above = 0 if options.model_base is None else max(open_model_base(options.model_base).taken(), default=0)
        version = database.models.reserve(record, candidate.metrics, above=above)
    verdict = _verdict(candidate, decision, figures, stable_version, version)
    write_json(candidate.workdir.verdict, verdict)
    report = _complete_report(candidate, decision, comparison, stable_version, version)
    if database is not None and version is not None:
        status = ModelStatus.BLESSED if verdict.blessed else ModelStatus.REJECTED
        judged = dataclasses.replace(record, status=status)
        if not database.models.record_verdict(version, judged, candidate.metrics, verdict, report, changed):
            log.warning(
                "version %d is exported: the verdict of then stays in force, this one is kept beside it", version
            )
    return verdict


def _complete_report(
    candidate: Candidate,
    decision: GateDecision,
    comparison: ModelComparison | None,
    stable_version: int | None,
    version: int | None,
) -> str:
    """Write the verdict into the workdir's report, in place of an earlier one; returns the page."""
    path = candidate.workdir.report
    judged = judged_for_report(decision, comparison, stable_version, version, datetime.now(UTC))
    page = with_verdict(read_text(path, made_by="sniffer model evaluate"), judged)
    write_text(path, page, private=True)
    return page


def gate_figures(candidate: Candidate, comparison: ModelComparison | None, night: JudgedNight) -> GateFigures:
    """The figures that the verdict rests on."""
    metrics, test = candidate.metrics, candidate.metrics.test
    precision = night.precision
    return GateFigures(
        pr_auc=test.pr_auc,
        roc_auc=test.roc_auc,
        recall=test.recall,
        nightly_precision=None if precision is None else precision.value,
        flags_per_night=night.flags.value,
        capacity=metrics.review.capacity,
        threshold_rule=metrics.threshold_rule,
        threshold_rule_kept=metrics.threshold_rule_kept,
        comparison=comparison,
        evidence=_evidence(metrics, night),
    )


def _evidence(metrics: ModelMetrics, night: JudgedNight) -> GateEvidence:
    test = metrics.test
    return GateEvidence(
        class_images={
            Split.VALIDATION: _class_images(metrics.validation.confusion),
            Split.TEST: _class_images(test.confusion),
        },
        recall=IntervalEstimate(test.recall, *test.intervals.recall),
        nightly_precision=night.precision,
        flags_per_night=night.flags,
        flags_per_false_alarm=night.flags_per_false_alarm,
        threshold_by=metrics.threshold_by,
        target_precision=metrics.target_precision,
        night=night.assumptions,
        confidence=metrics.bootstrap.confidence,
        prevalence_from=night.prevalence_from,
        prevalence_is_surprise=night.is_surprise,
    )


def _class_images(counts: Confusion) -> dict[str, int]:
    other, drugs = LABELS
    return {
        other: counts.false_positives + counts.true_negatives,
        drugs: counts.true_positives + counts.false_negatives,
    }


def find_stable(
    database: Database | None, asked: int | None, base: str | None, into: Path, preprocessing_version: str
) -> StableModel | None:
    """The stable model's files and threshold; None only when there is certainly no stable model yet.

    Raises SettingsError when it cannot be reached, ContractError when what is published is not what is registered.
    """
    record = None if database is None else database.models.stable()
    version = asked if record is None else record.version
    if version is None:
        return None
    if base is None:
        raise SettingsError(f"version {version} is stable: --model-base-path must say where it is published")
    directory = open_model_base(base).fetch(version, into, None if record is None else record.digest)
    facts = read_facts(directory)
    if facts.preprocessing_version != preprocessing_version:
        log.warning(
            "stable version %d was made for preprocessing %s; it is judged on today's pixels, of %s",
            version,
            facts.preprocessing_version,
            preprocessing_version,
        )
    return StableModel(version, directory, facts.threshold if record is None else record.threshold)


def _compare(
    candidate: Candidate, options: GateOptions, database: Database | None, plan: ReviewPlan
) -> BesideStable | None:
    """The comparison with the stable version, None when there is none yet."""
    base, preprocessing = options.model_base, candidate.training.preprocessing_version
    with temporary_folder("stable-model-") as into:
        stable = find_stable(database, options.stable_version, base, into, preprocessing)
        return None if stable is None else _compare_with(stable, candidate, options, plan)


def _compare_with(stable: StableModel, candidate: Candidate, options: GateOptions, plan: ReviewPlan) -> BesideStable:
    """Both models on the candidate's test split, with the bootstrap draws that the candidate was evaluated with."""
    # TensorFlow takes seconds to import: not before the inputs are known to be right.
    from sniffer_model.gate.stable_scores import stable_scores

    run = candidate.workdir, candidate.manifest, candidate.training
    test = score_splits(*run, options.feature_cache, options.images, (Split.TEST,))[Split.TEST]
    source = open_source(candidate.manifest.source)
    theirs, readable = stable_scores(stable.directory, test.entries, source, options.images)
    if len(np.unique(test.truth[readable])) < len(LABELS):
        raise SettingsError(
            "of one class no test image can be read any more: the stable model cannot be compared; take a new snapshot"
        )
    metrics, draws = candidate.metrics, candidate.metrics.bootstrap
    entries = [entry for entry, kept in zip(test.entries, readable, strict=True) if kept]
    rivals = (
        Rival(calibrated(test.scores, metrics.temperature)[readable], metrics.threshold),
        Rival(theirs[readable], stable.threshold),
    )
    kinds = [(entry.label, entry.slice) for entry in entries]
    truth, chances = test.truth[readable], [entry.chance for entry in entries]
    if min(chances) < 1:
        log.info("areas and a night's precision weigh images that were drawn at random by 1 / their chance")
    resampling = Resampling(draws.seed, draws.resamples)
    return BesideStable(
        stable.version,
        compare(truth, kinds, *rivals, plan, resampling, class_weights(chances, truth)),
        changed_images(entries, *rivals, stable.version, source, options.images),
    )


def _verdict(
    candidate: Candidate, decision: GateDecision, figures: GateFigures, stable: int | None, version: int | None
) -> GateVerdict:
    override = decision.override
    return GateVerdict(
        blessed=decision.blessed,
        reasons=decision.reasons,
        checks=decision.checks,
        overridden_by=None if override is None else override.name,
        override_reason=None if override is None else override.reason,
        stable_version=stable,
        version=version,
        manifest_digest=candidate.training.manifest_digest,
        training_digest=candidate.training.digest,
        candidate_digest=candidate.digest,
        figures=figures,
    )
