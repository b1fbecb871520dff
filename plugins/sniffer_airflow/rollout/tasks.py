"""The tasks of `rollout_serving`, as its graph uses them."""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from typing import Any

from airflow.providers.standard.exceptions import HITLRejectException
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import BaseOperator, Context, TriggerRule, Variable, XComArg, task
from airflow.sdk.exceptions import AirflowFailException

from sniffer.core.settings import database_settings
from sniffer_airflow.executors.choose import program
from sniffer_airflow.executors.connections import fetch, program_environ
from sniffer_airflow.executors.errors import errors_by_reaction
from sniffer_airflow.names import MODEL_BASE_VARIABLE, SAVEDMODEL, SERVING_MODEL
from sniffer_airflow.rollout.form import ROLL_BACK
from sniffer_airflow.rollout.plan import plan_rollout, summary

_APPROVAL_LIMIT = timedelta(hours=12)

log = logging.getLogger(__name__)


@task(inlets=[SAVEDMODEL], multiple_outputs=True)
def plan(
    *,
    params: Any = None,
    triggering_asset_events: Any = None,
    inlet_events: Any = None,
    task_state_store: Any = None,
) -> dict[str, Any]:
    """Which version is rolled out, or back to, and the flags of each step. The same however often it is cleared."""
    events = triggering_asset_events.get(SAVEDMODEL) or inlet_events[SAVEDMODEL]
    exported = events[-1].extra["version"] if len(events) else None
    with errors_by_reaction():
        # After a roll-back the former stable version is the previous one: asked again, it would swap back.
        previous = task_state_store.get("previous") or (_previous() if params["action"] == ROLL_BACK else None)
        if previous is not None:
            task_state_store.set("previous", previous)
        planned = plan_rollout(params, exported, previous, str(Variable.get(MODEL_BASE_VARIABLE, default="")))
    log.info("%s: version %s", planned["action"], planned["version"])
    return planned


def _previous() -> int | None:
    from sniffer.adapters.mysql.database import Database  # SQLAlchemy: 0.5 s that parsing a DAG file must not pay

    environ = program_environ(os.environ, fetch(aws=False, serving=False))
    with Database(database_settings(environ)) as database:
        record = database.models.previous()
    return None if record is None else record.version


@task.branch
def choose(first: str) -> str:
    """To the first step of what is asked for."""
    return first


def step(name: str, arguments: XComArg | list[str], **kwargs: Any) -> BaseOperator:
    """`python -m sniffer_rollout STEP`; its XCom is what the step found."""
    return program(
        task_id=name,
        module="sniffer_rollout",
        arguments=arguments,
        report_flag="--result",
        **kwargs,
    )


def restore() -> BaseOperator:
    """The servers go back to what `models` says, as soon as anything before it has failed."""
    # No argument from `plan`: it must run whatever became of that.
    base = f"{{{{ var.value.get('{MODEL_BASE_VARIABLE}', '') }}}}"
    return step("restore", ["restore", f"--model-base-path={base}"], trigger_rule=TriggerRule.ONE_FAILED)


@task
def review(verified: dict[str, Any]) -> str:
    """The figures for people, in the log and as XCom."""
    text = summary(verified)
    log.info("%s", text)
    return text


class Approval(ApprovalOperator):
    """Waits for a human without holding a worker, if the form asks for one.

    A rejection, or no answer, fails it for good, so that all is put back.
    """

    def execute(self, context: Context) -> Any:
        """Ask, or pass at once."""
        if not context["params"]["approval"]:
            self.log.info("no approval is asked for")
            return None
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on with an approval."""
        try:
            return super().execute_complete(context, event)
        except HITLRejectException as error:
            raise AirflowFailException("rejected, or nobody answered: everything is put back") from error


def approve() -> BaseOperator:
    """The approval, with the figures of `review`."""
    return Approval(
        task_id="approve",
        subject="May model version {{ ti.xcom_pull(task_ids='plan', key='version') }} become stable?",
        body="{{ ti.xcom_pull(task_ids='review') }}",
        defaults=ApprovalOperator.REJECT,
        response_timeout=_APPROVAL_LIMIT,
        fail_on_reject=True,
    )


@task(outlets=[SERVING_MODEL], trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
def announce(planned: dict[str, Any], *, ti: Any = None, outlet_events: Any = None) -> dict[str, Any]:
    """An event of the Asset `serving_model` with the version that is stable now, and the former one."""
    done = "rollback" if planned["action"] == ROLL_BACK else "promote"
    found = ti.xcom_pull(task_ids=done)
    extra = {"version": found["stable"], "former": found["former"], "previous": found["previous"]}
    extra["action"] = planned["action"]
    log.info("stable is version %s, before it was %s", extra["version"], extra["former"])
    outlet_events[SERVING_MODEL].extra = extra
    return extra
