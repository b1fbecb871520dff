"""The approval of `backfill_bucket`: a question under Required Actions where the estimate is above a limit.

The answer is kept in MySQL, in the table `estimates`, with the name that Airflow authenticated. Each shard's program
asks there: whoever marks this task as successful has approved nothing.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from sniffer.core.estimate_records import Approving, BackfillEstimate
from sniffer.core.model_records import NAME_CHARS
from sniffer.core.text import one_line
from sniffer_airflow.backfill.form import ApprovalLimits, team_limits
from sniffer_airflow.backfill.plan import PlannedBackfill
from sniffer_airflow.backfill.question import question, reasons_of_team, reasons_to_ask
from sniffer_airflow.executors.errors import errors_by_reaction
from sniffer_airflow.executors.results import result_of
from sniffer_airflow.forms.fields import Json
from sniffer_airflow.four_eyes import is_same_person
from sniffer_airflow.names import COST_APPROVAL_LIMIT
from sniffer_airflow.questions import (
    ASK_AGAIN,
    answered_by,
    decide_database,
    keep_shown,
    reason_field,
    reason_of,
    shown,
    who_started,
)

APPROVE_TASK = "approve"
_NAMED_CHARS = 16
"""Of the digest of an estimate, to name it by."""
_WITHIN_LIMITS = "within the limits of the form"
_WITHIN_BOTH = "within the limits of the form, and of the team"


def approval_operator() -> ApprovalOperator:
    """The approval, with the figures of `estimate`."""
    return BackfillApproval(
        task_id=APPROVE_TASK,
        subject="Scan all of {{ ti.xcom_pull(task_ids='plan')['bucket'] }}?",
        defaults=ApprovalOperator.REJECT,
        params=reason_field("Recorded with your name in the table *estimates*."),
        response_timeout=COST_APPROVAL_LIMIT,
        fail_on_reject=True,
        **ASK_AGAIN,
    )


class BackfillApproval(ApprovalOperator):
    """Waits for a person without holding a worker, if one must approve the estimate.

    Where four eyes are asked for, an approval by whoever started the run does not count: that try fails and says so,
    and the next one asks again. A rejection, or no answer, fails the task for good.

    Airflow keeps a question's text for as long as its run, also when the task is cleared: whoever approves another
    estimate than that text shows has to name it.
    """

    def execute(self, context: Context) -> Any:
        """Ask, or record at once that nobody has to be asked."""
        estimate = result_of(context["ti"], "estimate", BackfillEstimate)
        planned = result_of(context["ti"], "plan", PlannedBackfill)
        with errors_by_reaction():
            team = team_limits()
        if reasons := [*reasons_to_ask(estimate, planned.limits), *reasons_of_team(estimate, team)]:
            self.log.info("a person is asked: %s", "; ".join(reasons))
            self.body = question(estimate, planned.hours, reasons, _cannot_approve(context))
            keep_shown(context, [_name_of(estimate)])
            if not _is_shown(context, estimate):
                self.log.warning("%s", _new_digest(estimate))
            return super().execute(context)
        within = _WITHIN_LIMITS if team == ApprovalLimits() else _WITHIN_BOTH
        with errors_by_reaction(), decide_database() as database:
            database.estimates.approve(Approving(estimate.scan_id, estimate.digest, "", within))
        self.log.info("no approval is asked for: the estimate is %s", within)
        return _document(estimate, None, within)

    def execute_complete(self, context: Context, event: Any) -> Any:
        """Record an approval that counts."""
        chosen, user, reason = event.get("chosen_options"), answered_by(event), reason_of(event)
        name = None if user is None else _recorded(user)
        estimate = result_of(context["ti"], "estimate", BackfillEstimate)
        if chosen != [self.APPROVE] or name is None:
            # Somebody may have approved it before this task was cleared.
            with errors_by_reaction(), decide_database() as database:
                database.estimates.withdraw(estimate.scan_id)
            ending = f"rejected by {name}{f': {reason}' if reason else ''}" if name else "not answered in time"
            raise AirflowFailException(f"{ending}. Nothing was scanned")
        if not (_is_shown(context, estimate) or _name_of(estimate) in reason):
            raise AirflowException(
                f"{name} was not shown the estimate that this run has now, since `estimate` was run again. "
                f"{_new_digest(estimate)} The question is asked again"
            )
        if (starter := _cannot_approve(context)) and is_same_person(name, starter):
            raise AirflowException(
                f"{name} has started this run, and cannot approve what it costs: somebody else has to. The question is "
                "asked again"
            )
        with errors_by_reaction(), decide_database() as database:
            super().execute_complete(context, event)
            stored = database.estimates.approve(Approving(estimate.scan_id, estimate.digest, name, reason))
        self.log.info("approved by %s: %s", name, reason or "no reason given")
        return _document(estimate, stored.approved_by, reason)


def _is_shown(context: Context, estimate: BackfillEstimate) -> bool:
    return _name_of(estimate) in shown(context)


def _name_of(estimate: BackfillEstimate) -> str:
    return estimate.digest[:_NAMED_CHARS]


def _new_digest(estimate: BackfillEstimate) -> str:
    return (
        "Airflow goes on showing the question about the first estimate: the figures that count are in the log of "
        f"`estimate`. To approve them, name their digest, {_name_of(estimate)}, in the reason."
    )


def _document(estimate: BackfillEstimate, by: str | None, reason: str) -> dict[str, Json]:
    return {"scan_id": estimate.scan_id, "digest": estimate.digest, "approved_by": by, "approval_reason": reason}


def _cannot_approve(context: Context) -> str | None:
    """Whoever started the run, where four eyes are asked for; in the form in which an answer's name is recorded."""
    name = who_started(context)
    return _recorded(name) if name else None


def _recorded(name: str) -> str:
    return one_line(name, NAME_CHARS)
