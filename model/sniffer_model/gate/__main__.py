"""`sniffer model gate`: may the evaluated candidate replace the stable model?

In: an evaluated workdir, the stable version from `models` and its files from the model base path. Out: verdict.json in
the workdir and a reserved version in `models`, blessed or rejected, with every reason. The exit status is 0 for both.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.files import read_text, write_json, write_text
from sniffer.core.model_records import ModelRecord, ModelStatus
from sniffer.core.parser import Parser
from sniffer.core.program import Program, ProgramResult
from sniffer.core.settings import ImageSettings, database_settings, image_settings
from sniffer_model.data.manifest import Manifest, Split, read_manifest
from sniffer_model.data.source import open_source
from sniffer_model.evaluation.evaluated_run import candidate_digest, check_trained, read_metrics, score_splits
from sniffer_model.evaluation.figures import ScoredImages
from sniffer_model.evaluation.verdict_section import with_verdict
from sniffer_model.gate.comparison import ModelComparison, Rival, compare
from sniffer_model.gate.told import judged_for_report
from sniffer_model.gate.verdict import GateDecision, GateFigures, Limits, Override, decide
from sniffer_model.release.model_base import open_model_base
from sniffer_model.release.publish import read_facts
from sniffer_model.statistics.calibration import calibrated
from sniffer_model.statistics.metrics import Resampling
from sniffer_model.statistics.review_load import ReviewPlan
from sniffer_model.workdir import TrainingRecord, Workdir, read_training

log = logging.getLogger(__name__)

_NO_STABLE = "none"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An evaluated workdir, whose files belong together."""

    workdir: Workdir
    manifest: Manifest
    training: TrainingRecord
    metrics: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """What a version is reserved for: this training at this threshold."""
        return candidate_digest(self.metrics)

    @property
    def plan(self) -> ReviewPlan:
        """The night that it was evaluated for."""
        return ReviewPlan(**self.metrics["review"], target_precision=self.metrics["target_precision"])


@dataclass(frozen=True, slots=True)
class StableModel:
    """The version in production: where its files are, and the threshold at which it flags."""

    version: int
    directory: Path
    threshold: float


def read_candidate(workdir: Workdir) -> Candidate:
    """Read the workdir; raises ContractError when its files are of different trainings."""
    manifest, training = read_manifest(workdir.manifest), read_training(workdir)
    check_trained(workdir, manifest, training)
    return Candidate(workdir, manifest, training, read_metrics(workdir, training))


def gate_figures(candidate: Candidate, comparison: ModelComparison | None) -> GateFigures:
    """The figures that the verdict rests on."""
    metrics, test = candidate.metrics, candidate.metrics[Split.TEST]
    night = test["night"]
    return GateFigures(
        pr_auc=test["pr_auc"],
        roc_auc=test["roc_auc"],
        recall=test["recall"],
        nightly_precision=night["precision"] and night["precision"]["value"],
        flags_per_night=night["flags_per_night"]["value"],
        capacity=metrics["review"]["capacity"],
        threshold_rule=metrics["threshold_rule"],
        threshold_rule_kept=metrics["threshold_rule_kept"],
        comparison=comparison,
    )


def compare_with_stable(
    candidate: Candidate, stable: StableModel, cache_root: Path, limits: ImageSettings
) -> ModelComparison:
    """Both models on the candidate's test split, with the bootstrap that the candidate was evaluated by."""
    # TensorFlow takes seconds to import: not before the inputs are known to be right.
    from sniffer_model.gate.stable_scores import stable_scores

    test = score_splits(candidate.workdir, candidate.manifest, candidate.training, cache_root, limits, (Split.TEST,))[
        Split.TEST
    ]
    theirs, readable = stable_scores(stable.directory, test.entries, open_source(candidate.manifest.source), limits)
    metrics, draws = candidate.metrics, candidate.metrics["bootstrap"]
    return compare(
        test.truth[readable],
        [kind for kind, kept in zip(test.kinds(), readable, strict=True) if kept],
        Rival(_own_scores(test, metrics)[readable], metrics["threshold"]),
        Rival(theirs[readable], stable.threshold),
        candidate.plan,
        Resampling(draws["seed"], draws["resamples"]),
    )


def _own_scores(test: ScoredImages, metrics: Mapping[str, Any]) -> Any:
    return calibrated(test.scores, metrics["temperature"])


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
    directory = open_model_base(base).fetch(version, into)
    facts = read_facts(directory)
    if record is not None and record.digest != facts.digest:
        raise ContractError(f"version {version} in {base} is not the stable model that is registered: publish it anew")
    if facts.preprocessing_version != preprocessing_version:
        log.warning(
            "stable version %d was made for preprocessing %s; it is judged on today's pixels, of %s",
            version,
            facts.preprocessing_version,
            preprocessing_version,
        )
    return StableModel(version, directory, facts.threshold if record is None else record.threshold)


def write_verdict(
    candidate: Candidate, verdict: GateDecision, figures: GateFigures, stable: int | None, version: int | None
) -> dict[str, Any]:
    """Write verdict.json; returns its document."""
    override = verdict.override
    document = {
        "blessed": verdict.blessed,
        "reasons": list(verdict.reasons),
        "checks": [asdict(check) for check in verdict.checks],
        "overridden_by": override and override.name,
        "override_reason": override and override.reason,
        "stable_version": stable,
        "version": version,
        "manifest_digest": candidate.training.manifest_digest,
        "training_digest": candidate.training.digest,
        "candidate_digest": candidate.digest,
        "figures": asdict(figures),
    }
    write_json(candidate.workdir.verdict, document)
    return document


def candidate_record(candidate: Candidate) -> ModelRecord:
    """The candidate as `models` holds it before it has a version, an export or a verdict."""
    training, metrics = candidate.training, candidate.metrics
    return ModelRecord(
        version=0,
        digest="",
        backbone_digest=training.backbone_digest,
        preprocessing_version=training.preprocessing_version,
        threshold=metrics["threshold"],
        metrics=metrics,
        status=ModelStatus.CANDIDATE,
        candidate_digest=candidate.digest,
    )


def _add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "--workdir", required=True, type=Path, metavar="DIR", help="folder of this training run, evaluated"
    )
    parser.add_argument(
        "--feature-cache", required=True, type=Path, metavar="DIR", help="folder of cached features, shared by runs"
    )
    parser.add_argument(
        "--model-base-path",
        metavar="DIR|s3://BUCKET/PREFIX",
        help="where the stable model is published, if there is one",
    )
    _add_limits(parser)
    parser.add_argument("--override-by", metavar="NAME", help="who blesses the candidate in spite of the gate")
    parser.add_argument("--override-reason", metavar="TEXT", help="why; recorded with the name")
    parser.add_argument(
        "--no-register", action="store_true", help="use no database: reserve no version; needs --stable-version"
    )
    parser.add_argument(
        "--stable-version",
        metavar=f"N|{_NO_STABLE}",
        help=f"with --no-register: the version to compare with, or `{_NO_STABLE}` when there is none yet",
    )


_LIMITS_HELP = {
    "min_pr_auc": "of the test split",
    "min_roc_auc": "of the test split",
    "min_recall": "of the test split at the threshold",
    "min_nightly_precision": "share of a night's flags that must be right, by the test split's rates",
    "max_recall_loss": "against the stable model, each at its threshold, when shown by the interval",
    "max_precision_loss": "of a night's flags against the stable model, when shown by the interval",
    "max_slice_loss": "of recall, or gain in false alarms, in one slice, when shown by the interval",
    "min_slice_images": "of the test split, for a slice to be judged",
    "capacity_tolerance": "by what share the expected flags may exceed the reviewers' capacity",
}


def _add_limits(parser: argparse.ArgumentParser) -> None:
    for field in dataclasses.fields(Limits):
        flag = f"--{field.name.replace('_', '-')}"
        parse = int if field.name == "min_slice_images" else float
        parser.add_argument(flag, type=parse, default=field.default, help=_LIMITS_HELP[field.name])


def _run_program(arguments: argparse.Namespace) -> ProgramResult:
    document = _run(arguments)
    log.info("%s%s", "blessed" if document["blessed"] else "rejected", _by_whom(document))
    for reason in document["reasons"]:
        log.info("%s", reason)
    return ProgramResult(document)


def _by_whom(document: Mapping[str, Any]) -> str:
    name = document["overridden_by"]
    return f" by {name} in spite of the gate: {document['override_reason']}" if name else ""


def _run(arguments: argparse.Namespace) -> dict[str, Any]:
    limits, override = _limits(arguments), _override(arguments)
    asked = _stable_version(arguments)
    candidate = read_candidate(Workdir(arguments.workdir))
    if arguments.no_register:
        return _judge(arguments, candidate, limits, override, None, asked)
    with Database(database_settings()) as database:
        database.check()
        return _judge(arguments, candidate, limits, override, database, None)


def _judge(
    arguments: argparse.Namespace,
    candidate: Candidate,
    limits: Limits,
    override: Override | None,
    database: Database | None,
    asked: int | None,
) -> dict[str, Any]:
    stable_version, comparison = _compared(arguments, candidate, database, asked)
    figures = gate_figures(candidate, comparison)
    verdict = decide(figures, limits, override)
    if database is None:
        _complete_report(candidate, verdict, comparison, stable_version, None)
        return write_verdict(candidate, verdict, figures, stable_version, None)
    record = candidate_record(candidate)
    version = database.models.reserve(record, above=_highest_taken(arguments.model_base_path))
    document = write_verdict(candidate, verdict, figures, stable_version, version)
    status = ModelStatus.BLESSED if verdict.blessed else ModelStatus.REJECTED
    report = _complete_report(candidate, verdict, comparison, stable_version, version)
    database.models.record_verdict(version, dataclasses.replace(record, status=status, verdict=document), report)
    return document


def _complete_report(
    candidate: Candidate,
    verdict: GateDecision,
    comparison: ModelComparison | None,
    stable_version: int | None,
    version: int | None,
) -> str:
    """Write the verdict into the workdir's report, in place of an earlier one; returns the page."""
    path = candidate.workdir.report
    judged = judged_for_report(verdict, comparison, stable_version, version, datetime.now(UTC))
    page = with_verdict(read_text(path, made_by="sniffer model evaluate"), judged)
    write_text(path, page)
    return page


def _compared(
    arguments: argparse.Namespace, candidate: Candidate, database: Database | None, asked: int | None
) -> tuple[int | None, ModelComparison | None]:
    """The stable version and the comparison with it, or neither when there is none yet."""
    base, preprocessing = arguments.model_base_path, candidate.training.preprocessing_version
    with tempfile.TemporaryDirectory(prefix="stable-model-") as into:
        stable = find_stable(database, asked, base, Path(into), preprocessing)
        if stable is None:
            return None, None
        return stable.version, compare_with_stable(candidate, stable, arguments.feature_cache, image_settings())


def _highest_taken(base: str | None) -> int:
    return 0 if base is None else max(open_model_base(base).taken(), default=0)


def _limits(arguments: argparse.Namespace) -> Limits:
    return Limits(**{field.name: getattr(arguments, field.name) for field in dataclasses.fields(Limits)})


def _override(arguments: argparse.Namespace) -> Override | None:
    if arguments.override_by is None and arguments.override_reason is None:
        return None
    return Override(arguments.override_by or "", arguments.override_reason or "")


def _stable_version(arguments: argparse.Namespace) -> int | None:
    text = arguments.stable_version
    if arguments.no_register != (text is not None):
        raise SettingsError(
            "--no-register and --stable-version belong together: without a database, say what is stable"
        )
    if text in (None, _NO_STABLE):
        return None
    if not text.isdecimal():
        raise SettingsError(f"--stable-version must be a number or `{_NO_STABLE}`, not {text!r}")
    return int(text)


PROGRAM = Program(
    command="sniffer model gate",
    summary="Decide whether the evaluated model may replace the stable one: by its own figures, and by those of both "
    "models on the same test split. Reserves a version in the database, blessed or rejected with every reason, and "
    "prints the decision as one JSON line. The exit status is 0 for both.",
    run=_run_program,
    add_arguments=_add_arguments,
    examples=(
        "sniffer model gate --workdir runs/1 --feature-cache features --model-base-path s3://models/drug_detector",
        "sniffer model gate --workdir runs/1 --feature-cache features --no-register --stable-version none",
    ),
    environment=(
        "SNIFFER_DATABASE_URL",
        "SNIFFER_DATABASE_PATIENCE_S",
        "AWS_*",
        "SNIFFER_FETCH_THREADS",
        "SNIFFER_FETCH_PATIENCE_S",
        "SNIFFER_MAX_IMAGE_BYTES",
        "SNIFFER_MAX_IMAGE_PIXELS",
        "SNIFFER_LOG_FORMAT",
    ),
    extra="trainer",
    hands_on=True,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program."""
    return PROGRAM.main(argv)


if __name__ == "__main__":
    sys.exit(main())
