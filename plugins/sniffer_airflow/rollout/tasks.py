"""The tasks of `rollout_serving`, as its graph uses them."""

from __future__ import annotations

import logging
import os
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from airflow.providers.standard.exceptions import HITLRejectException
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import BaseOperator, Context, TriggerRule, task
from airflow.sdk.exceptions import AirflowFailException

from sniffer.core.rollout_records import Promotion, VerifyReport
from sniffer.core.settings import database_settings
from sniffer_airflow.executors.choose import from_plan, program
from sniffer_airflow.executors.connections import fetch, program_environ
from sniffer_airflow.executors.errors import errors_by_reaction
from sniffer_airflow.executors.results import result_of
from sniffer_airflow.forms.fields import Json
from sniffer_airflow.forms.variables import model_base
from sniffer_airflow.names import APPROVAL_LIMIT, MODEL_BASE_VARIABLE, SAVEDMODEL, SERVING_MODEL
from sniffer_airflow.rollout.form import FORCE_FIELD, ROLL_BACK, RolloutForm
from sniffer_airflow.rollout.plan import plan_rollout
from sniffer_airflow.rollout.question import Asked, question, requester, summary

log = logging.getLogger(__name__)


@task(inlets=[SAVEDMODEL])
def plan(
    *,
    params: Any = None,
    triggering_asset_events: Any = None,
    inlet_events: Any = None,
    task_state_store: Any = None,
) -> dict[str, Json]:
    """Which version is rolled out, or back to, and the flags of each step. The same however often it is cleared."""
    events = triggering_asset_events.get(SAVEDMODEL) or inlet_events[SAVEDMODEL]
    exported = events[-1].extra["version"] if len(events) else None
    with errors_by_reaction():
        form = RolloutForm.parse(params)
        # After a roll-back the version that was stable is the previous one: asked again, it would swap back.
        previous = task_state_store.get("previous") or (_previous() if form.action == ROLL_BACK else None)
        if previous is not None:
            task_state_store.set("previous", previous)
        planned = plan_rollout(form, exported, previous, model_base())
    log.info("%s: version %s", planned.action, planned.version)
    return asdict(planned)


def _previous() -> int | None:
    from sniffer.adapters.mysql.database import Database  # SQLAlchemy: 0.5 s that parsing a DAG file must not pay

    environ = program_environ(os.environ, fetch(aws=False, serving=False))
    with Database(database_settings(environ)) as database:
        record = database.models.previous()
    return None if record is None else record.version


@task.branch
def choose(*, ti: Any = None) -> str:
    """To the first step of what is asked for."""
    first: str = ti.xcom_pull(task_ids="plan")["first"]
    return first


def step(name: str) -> BaseOperator:
    """`python -m sniffer_rollout STEP`; its XCom is what the step found."""
    return _program(name, from_plan(name))


def restore() -> BaseOperator:
    """The servers go back to what `models` says, when a rollout or a roll-back has failed."""
    # Nothing from `plan`: it must run whatever became of that.
    base = f"{{{{ var.value.get('{MODEL_BASE_VARIABLE}', '') }}}}"
    no = f"{{{{ '' if params.get('{FORCE_FIELD}') else 'no-' }}}}"
    words = ["restore", f"--model-base-path={base}", f"--{no}force-conflicts"]
    return _program("restore", words, trigger_rule=TriggerRule.ONE_FAILED)


def _program(name: str, arguments: str | list[str], **kwargs: Any) -> BaseOperator:
    return program(task_id=name, module="sniffer_rollout", arguments=arguments, **kwargs)


@task
def review(*, ti: Any = None) -> str:
    """The figures of `verify` for people, in the log and as XCom."""
    text = summary(result_of(ti, "verify", VerifyReport))
    log.info("%s", text)
    return text


class Approval(ApprovalOperator):
    """Waits for a person without holding a worker, if the form asks for one.

    A rejection, or no answer, fails it for good, so that all is put back.
    """

    def execute(self, context: Context) -> Any:
        """Ask, or pass at once."""
        if not RolloutForm.parse(context["params"]).approval:
            self.log.info("no approval is asked for")
            return None
        run = context["dag_run"]
        asked = Asked(requester(run.triggering_user_name, str(run.run_type)), datetime.now(UTC) + APPROVAL_LIMIT)
        self.body = question(result_of(context["ti"], "verify", VerifyReport), asked)
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on with an approval."""
        try:
            return super().execute_complete(context, event)
        except HITLRejectException as error:
            raise AirflowFailException("rejected, or not answered in time: everything is put back") from error


def approve() -> BaseOperator:
    """The approval, with the figures of `verify`."""
    return Approval(
        task_id="approve",
        subject="Make model version {{ ti.xcom_pull(task_ids='plan')['version'] }} stable?",
        defaults=ApprovalOperator.REJECT,
        response_timeout=APPROVAL_LIMIT,
        fail_on_reject=True,
    )


@task(outlets=[SERVING_MODEL], trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
def announce(*, ti: Any = None, outlet_events: Any = None) -> dict[str, Json]:
    """An event of the Asset `serving_model` with the version that is stable now, and the one before it."""
    action = ti.xcom_pull(task_ids="plan")["action"]
    found = result_of(ti, "rollback" if action == ROLL_BACK else "promote", Promotion)
    extra: dict[str, Json] = {
        "version": found.stable,
        "former": found.former,
        "previous": found.previous,
        "action": action,
    }
    log.info("stable is version %s, before it was %s", found.stable, found.former)
    outlet_events[SERVING_MODEL].extra = extra
    return extra
