"""The tasks of `rollout_serving`, as its graph uses them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from airflow.sdk import BaseOperator, TriggerRule, task
from airflow.sdk.exceptions import AirflowSkipException

from sniffer.core.json_records import json_values
from sniffer.core.rollout_records import PROMOTION_RENAMED, Promotion, VerifyReport
from sniffer_airflow.asset_events import SavedmodelExtra, source_task, told
from sniffer_airflow.executors.choose import from_plan, program
from sniffer_airflow.executors.errors import errors_by_reaction
from sniffer_airflow.executors.results import result_of
from sniffer_airflow.forms.fields import Json
from sniffer_airflow.forms.variables import model_base, read_variable
from sniffer_airflow.names import MODEL_BASE_VARIABLE, SAVEDMODEL, SERVING_MODEL, type_of_run
from sniffer_airflow.rollout.approval import say_who_asked, say_who_decided
from sniffer_airflow.rollout.form import FORCE_FIELD, ROLL_BACK, RolloutForm
from sniffer_airflow.rollout.plan import RolloutPlan, plan_rollout
from sniffer_airflow.rollout.policy import ApprovalPolicy
from sniffer_airflow.rollout.question import AUTOMATIC_RUN, summary
from sniffer_airflow.rollout.versions import read_versions

log = logging.getLogger(__name__)


@task(inlets=[SAVEDMODEL])
def plan(
    *,
    params: Any = None,
    dag_run: Any = None,
    triggering_asset_events: Any = None,
    task_state_store: Any = None,
) -> dict[str, Json]:
    """Which version is rolled out, or back to, and the flags of each step. The same however often it is cleared.

    It is the form's, or what the table `models` says, and never what an event says. Skipped, with everything after it,
    when an event started the run and there is nothing new.
    """
    is_automatic = type_of_run(dag_run) == AUTOMATIC_RUN
    told(triggering_asset_events.get(SAVEDMODEL) or (), SavedmodelExtra)  # names in the log what is no fact
    with errors_by_reaction():
        form = RolloutForm.parse(params)
        if is_automatic and ApprovalPolicy.read().four_eyes:
            _require_known_source(triggering_asset_events.get(SAVEDMODEL) or ())
        # After a roll-back the version that was stable is the previous one: asked again, it would swap back.
        chosen = task_state_store.get("version") or form.version or _chosen(form, is_automatic=is_automatic)
        task_state_store.set("version", chosen)
        # Like `restore`, a roll-back needs no files: a wrong Variable must not keep it from its work.
        base = read_variable(MODEL_BASE_VARIABLE) if form.action == ROLL_BACK else model_base()
        planned = plan_rollout(form, chosen, chosen, base)
    log.info("%s: version %s", planned.action, planned.version)
    return asdict(planned)


def _chosen(form: RolloutForm, *, is_automatic: bool) -> int:
    known = read_versions()
    if is_automatic and not known.newest_is_new:
        raise AirflowSkipException(
            f"version {known.newest}, the newest exported one, is or was stable already: there is nothing to roll out"
            if known.newest
            else "no version has been exported yet: there is nothing to roll out"
        )
    return plan_rollout(form, known.newest, known.previous, "").version


def _require_known_source(events: Sequence[Any]) -> None:
    if events and not any(source_task(event) for event in events):
        raise AirflowSkipException(
            "this run was started by an event of an Asset that was created by hand, and Airflow does not record by "
            "whom: who asks could then be who approves. Trigger rollout_serving instead"
        )


@task.branch
def choose(*, ti: Any = None) -> str:
    """To the first step of what is asked for."""
    return result_of(ti, "plan", RolloutPlan).first


def step(name: str) -> BaseOperator:
    """`python -m sniffer_rollout STEP`; its XCom is what the step found."""
    return _program(name, from_plan(name))


def promote() -> BaseOperator:
    """The step `promote`, which first checks the approval once more, and records who decided."""
    return _program("promote", from_plan("promote"), inlets=[SAVEDMODEL], pre_execute=say_who_decided)


def roll_back() -> BaseOperator:
    """The step `rollback`, which records who asked for it."""
    return _program("rollback", from_plan("rollback"), pre_execute=say_who_asked)


def tidy_up() -> BaseOperator:
    """Takes back what an earlier run has left that was marked as failed, which skips its `restore`."""
    return _program("tidy_up", _restore_arguments())


def restore() -> BaseOperator:
    """The servers go back to what `models` says, when a rollout or a roll-back has failed."""
    return _program("restore", _restore_arguments(), trigger_rule=TriggerRule.ONE_FAILED)


def _restore_arguments() -> list[str]:
    # Nothing from `plan`: it must run whatever became of that.
    base = f"{{{{ var.value.get('{MODEL_BASE_VARIABLE}', '') }}}}"
    no = f"{{{{ '' if params.get('{FORCE_FIELD}') else 'no-' }}}}"
    return ["restore", f"--model-base-path={base}", f"--{no}force-conflicts"]


def _program(name: str, arguments: str | list[str], **kwargs: Any) -> BaseOperator:
    return program(task_id=name, module="sniffer_rollout", arguments=arguments, **kwargs)


@task
def review(*, ti: Any = None) -> str:
    """The figures of `verify` for people, in the log and as XCom."""
    text = summary(result_of(ti, "verify", VerifyReport))
    log.info("%s", text)
    return text


@task(outlets=[SERVING_MODEL], trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
def announce(*, ti: Any = None, outlet_events: Any = None) -> dict[str, Json]:
    """An event of the Asset `serving_model`: the version that is stable now, the one before it, and who decided."""
    action = result_of(ti, "plan", RolloutPlan).action
    found = result_of(ti, "rollback" if action == ROLL_BACK else "promote", Promotion, PROMOTION_RENAMED)
    extra: dict[str, Json] = {
        "version": found.stable,
        "previous_stable": found.previous_stable,
        "previous": found.previous,
        "action": action,
        **json_values(found.decision),
    }
    log.info("stable is version %s, before it was %s", found.stable, found.previous_stable)
    outlet_events[SERVING_MODEL].extra = extra
    return extra
