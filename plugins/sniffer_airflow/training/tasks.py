"""The tasks of `watch_labels`, `retrain_model` and `export_model`, as their graphs use them."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

from airflow.sdk import BaseOperator, Context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from sniffer.core.errors import SettingsError
from sniffer.core.gate_records import GateVerdict
from sniffer.core.label_records import LabelCounts
from sniffer.core.model_metrics import MetricsSummary
from sniffer.core.model_records import PublishedModel
from sniffer.core.text import one_line
from sniffer_airflow.asset_events import BlessedExtra, told
from sniffer_airflow.executors.choose import from_plan, program
from sniffer_airflow.executors.errors import errors_by_reaction
from sniffer_airflow.executors.program import words_of
from sniffer_airflow.executors.results import result_of
from sniffer_airflow.forms.fields import Json
from sniffer_airflow.four_eyes import asks_for_four_eyes
from sniffer_airflow.names import (
    BLESSED_MODEL,
    LABELLED_IMAGES,
    PUBLISHED_LABELS,
    RETRAIN_DAG,
    SAVEDMODEL,
    name_of_run,
    report_label,
    report_url,
)
from sniffer_airflow.training.form import ExportForm, RetrainForm, WatchForm
from sniffer_airflow.training.plan import (
    TrainingPlan,
    WatchPlan,
    override_flags,
    plan_export,
    plan_training,
    plan_watch,
)
from sniffer_airflow.training.published import published_for
from sniffer_airflow.training.report_links import REPORT_LINKS
from sniffer_airflow.training.settings import settings_of_airflow
from sniffer_airflow.training.watched import watched_for, watched_source

TRAININGS_AT_A_TIME = 1
"""Over all runs: a training fills its machine."""

log = logging.getLogger(__name__)


PROGRAMS = {
    "count_labels": "sniffer_model.data.count_labels",
    "snapshot": "sniffer_model.data.snapshot",
    "train": "sniffer_model.training.train",
    "evaluate": "sniffer_model.evaluation.evaluate",
    "gate": "sniffer_model.gate",
    "export": "sniffer_model.export.export",
}
"""The module of each step, as `python -m` takes it."""


def training_program(step: str, *, mysql: bool = False) -> BaseOperator:
    """The program of that step, with the arguments that `plan` returned under its name; its XCom is its result."""
    operator = program(
        task_id=step,
        module=PROGRAMS[step],
        arguments=from_plan(step),
        needs=("aws", "mysql") if mysql else ("aws",),
        max_active_tis_per_dag=TRAININGS_AT_A_TIME,
        pre_execute=say_who_overrides if step == "gate" else None,
    )
    if step == "gate":
        operator.operator_extra_links = REPORT_LINKS
    return operator


def say_who_overrides(context: Context) -> None:
    """Before `gate` runs: add the override, if the form has one, under the name that Airflow authenticated.

    It comes from the run itself: the result of `plan`, which people can edit, must not carry a name.
    """
    operator: Any = context["task"]
    words = words_of(operator.arguments)
    with errors_by_reaction():
        if any(word.startswith("--override") for word in words):
            raise SettingsError("the result of `plan` has an override that `plan` does not write: clear `plan`")
        form = RetrainForm.parse(context["params"])
        operator.arguments = [*words, *override_flags(form, context["dag_run"].triggering_user_name)]


@task(task_id="plan")
def plan_of_watch(*, params: Any = None) -> dict[str, Json]:
    """What is counted, and how many new labels are enough."""
    with errors_by_reaction():
        return asdict(plan_watch(WatchForm.parse(params), settings_of_airflow()))


@task(outlets=[LABELLED_IMAGES])
def announce_labels(
    *, ti: Any = None, dag_run: Any = None, triggering_asset_events: Any = None, outlet_events: Any = None
) -> dict[str, Json]:
    """An event of the Asset `labelled_images` when enough came in; skipped when not."""
    counts = result_of(ti, "count_labels", LabelCounts)
    planned = result_of(ti, "plan", WatchPlan)
    found = f"{counts.new} of {counts.labelled} labelled images are new"
    if counts.new < planned.enough:
        raise AirflowSkipException(f"{found}; {planned.enough} start a retraining")
    log.info("%s: a retraining is due", found)
    extra: dict[str, Json] = {
        **asdict(counts),
        "source": planned.source,
        "requested_by": _names(
            dag_run.triggering_user_name, *published_for(triggering_asset_events.get(PUBLISHED_LABELS) or ())
        ),
    }
    outlet_events[LABELLED_IMAGES].extra = extra
    return extra


@task(task_id="plan")
def plan_of_training(
    *, dag_run: Any = None, params: Any = None, triggering_asset_events: Any = None
) -> dict[str, Json]:
    """What this run trains on and how: every default filled in, and the flags of each program."""
    with errors_by_reaction():
        events = triggering_asset_events.get(LABELLED_IMAGES) or ()
        watched = watched_source(events, four_eyes=asks_for_four_eyes())
        run_name = name_of_run(dag_run.dag_id, dag_run.run_id)
        form = RetrainForm.parse(params)
        override_flags(form, dag_run.triggering_user_name)  # refused now, not after hours of training
        planned = asdict(plan_training(run_name, form, settings_of_airflow(), watched))
    for name, value in planned.items():
        log.info("%-10s %s", name, value)
    return planned


@task(outlets=[BLESSED_MODEL])
def bless(
    *, ti: Any = None, dag_run: Any = None, triggering_asset_events: Any = None, outlet_events: Any = None
) -> dict[str, Json]:
    """An event of the Asset `blessed_model` if the gate let the model pass; skipped with its reasons if not."""
    verdict = result_of(ti, "gate", GateVerdict)
    if not verdict.blessed:
        for reason in verdict.reasons:
            log.warning("rejected: %s", reason)
        raise AirflowSkipException(
            f"the candidate is rejected, the stable model stays: {'; '.join(verdict.reasons)}. "
            f"Report: {report_url(_version(verdict))}"
        )
    workdir = result_of(ti, "plan", TrainingPlan).workdir
    extra = blessed_extra(workdir, result_of(ti, "evaluate", MetricsSummary), verdict)
    watched_for_them = watched_for(triggering_asset_events.get(LABELLED_IMAGES) or ())
    extra["requested_by"] = _names(dag_run.triggering_user_name, *watched_for_them)
    label = report_label(
        _version(verdict), warnings=len(verdict.warnings), is_overridden=verdict.overridden_by is not None
    )
    log.info("blessed: %s; report: %s", label, extra["report"])
    for warning in verdict.warnings:
        log.warning("%s", warning)
    outlet_events[BLESSED_MODEL].extra = extra
    return extra


def blessed_extra(workdir: str, metrics: MetricsSummary, verdict: GateVerdict) -> dict[str, Json]:
    """What an event of the Asset `blessed_model` carries, as JSON-ready values."""
    test, version = metrics.test, _version(verdict)
    return {
        "workdir": workdir,
        "report": report_url(version),
        "version": version,
        "manifest_digest": verdict.manifest_digest,
        "candidate_digest": verdict.candidate_digest,
        "stable_version": verdict.stable_version,
        "overridden_by": verdict.overridden_by,
        "override_reason": verdict.override_reason,
        "reasons": list(verdict.reasons),
        "threshold": metrics.threshold,
        "metrics": {
            "pr_auc": test.pr_auc,
            "roc_auc": test.roc_auc,
            "precision": test.precision,
            "recall": test.recall,
            "night": asdict(test.night),
            "intervals": {name: ends and [*ends] for name, ends in asdict(test.intervals).items()},
        },
    }


def _version(verdict: GateVerdict) -> int:
    if verdict.version is None:
        raise AirflowFailException("the gate reserved no version: it must run with the database")
    return verdict.version


@task(task_id="plan", inlets=[BLESSED_MODEL])
def plan_of_export(
    *, params: Any = None, triggering_asset_events: Any = None, inlet_events: Any = None
) -> dict[str, Json]:
    """Which blessed model is exported: the form's, else the newest of all events, whichever of them started the run.

    Airflow loses events that come while a run waits. What an event created by hand names is left out: a workdir that is
    not there, or is an older one, would keep every later run from its work.
    """
    found = told(inlet_events[BLESSED_MODEL], BlessedExtra)
    blessed = [one.extra for one in found if one.is_by(RETRAIN_DAG)]
    for one in found:
        if not one.is_by(RETRAIN_DAG):
            log.warning(
                "the workdir %s is left out, whose event was created by hand: enter it in the form",
                one_line(one.extra.workdir),
            )
    for one in told(triggering_asset_events.get(BLESSED_MODEL) or (), BlessedExtra):
        if blessed and one.extra.version != blessed[-1].version:
            log.info("version %d is superseded by a model that was blessed after it", one.extra.version)
    with errors_by_reaction():
        workdirs = [one.workdir for one in blessed]
        return asdict(plan_export(ExportForm.parse(params).workdir, workdirs, settings_of_airflow()))


@task(outlets=[SAVEDMODEL], inlets=[BLESSED_MODEL])
def announce_savedmodel(
    *, ti: Any = None, dag_run: Any = None, inlet_events: Any = None, outlet_events: Any = None
) -> dict[str, Json]:
    """An event of the Asset `savedmodel` with the published version, and who asked for it or for its training."""
    published = result_of(ti, "export", PublishedModel)
    trainings = [one.extra for one in told(inlet_events[BLESSED_MODEL], BlessedExtra) if one.is_by(RETRAIN_DAG)]
    trained_for = [name for one in trainings if one.version == published.version for name in one.requested_by]
    extra: dict[str, Json] = {
        "version": published.version,
        "digest": published.digest,
        "path": published.path,
        "manifest_digest": published.manifest_digest,
        "preprocessing_version": published.preprocessing_version,
        "threshold": published.threshold,
        "decoder_difference": published.decoder_difference,
        "requested_by": _names(dag_run.triggering_user_name, *trained_for),
    }
    log.info("version %d is published at %s", published.version, published.path)
    outlet_events[SAVEDMODEL].extra = extra
    return extra


def _names(*users: str | None) -> list[str]:
    """The users, each once; Airflow knows of none behind a schedule or an event."""
    return list(dict.fromkeys(user for user in users if user))
