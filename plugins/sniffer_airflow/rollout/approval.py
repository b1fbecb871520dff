"""The approval of `rollout_serving`, and the last check of it, in the task that makes the version stable.

What people see and answer is Airflow's; who asked and who answered are the names that Airflow authenticated. The answer
is signed, since whoever may edit a run can also mark a task as successful, and write its XCom.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from sniffer.core.errors import SettingsError
from sniffer.core.flags import render_flags
from sniffer.core.json_records import json_values
from sniffer.core.model_records import NAME_CHARS, Decision
from sniffer.core.rollout_records import VerifyReport
from sniffer.core.text import one_line
from sniffer_airflow.asset_events import SavedmodelExtra, told
from sniffer_airflow.executors.errors import errors_by_reaction
from sniffer_airflow.executors.program import words_of
from sniffer_airflow.executors.results import result_of
from sniffer_airflow.forms.fields import Json
from sniffer_airflow.names import APPROVAL_LIMIT, EXPORT_DAG, SAVEDMODEL, type_of_run
from sniffer_airflow.questions import (
    ASK_AGAIN,
    REASON,
    answered_by,
    keep_shown,
    mark_of,
    reason_field,
    reason_of,
    shown,
)
from sniffer_airflow.rollout.form import RolloutForm
from sniffer_airflow.rollout.policy import ApprovalPolicy, Proposal, needs_approval, objection
from sniffer_airflow.rollout.question import AUTOMATIC_RUN, Asked, question, requester
from sniffer_airflow.rollout.signature import is_signed, sign
from sniffer_airflow.rollout.versions import GateRemarks, database_secret, read_changed_images, read_remarks

APPROVE_TASK = "approve"

_DEADLINE, _REFUSED = "answer_by", "did_not_count"


def approval_operator() -> ApprovalOperator:
    """The approval, with the figures of `verify`."""
    return Approval(
        task_id=APPROVE_TASK,
        inlets=[SAVEDMODEL],
        subject="Make model version {{ ti.xcom_pull(task_ids='plan')['version'] }} stable?",
        defaults=ApprovalOperator.REJECT,
        params=reason_field("Recorded with your name in the table *models*."),
        response_timeout=APPROVAL_LIMIT,
        fail_on_reject=True,
        **ASK_AGAIN,
    )


class Approval(ApprovalOperator):
    """Waits for a person without holding a worker, if one must approve the version.

    An approval by somebody who cannot give it does not count: that try fails and says so, and the next one asks again.
    Airflow keeps a question's text from try to try, so that it says from the start who cannot approve. A rejection, or
    no answer, fails the task for good, so that all is put back. When `verify` has run again since the question was
    first asked, whoever approves has to name what it found.
    """

    def execute(self, context: Context) -> Any:
        """Ask, or pass at once."""
        found = result_of(context["ti"], "verify", VerifyReport)
        with errors_by_reaction():
            policy = ApprovalPolicy.read()
            proposal, remarks = proposal_of(context, found.version, policy)
        if not needs_approval(proposal, policy):
            self.log.info("no approval is asked for")
            return None
        deadline = self._deadline(context)
        self.response_timeout = max(deadline - datetime.now(UTC), timedelta(seconds=1))
        asked = Asked(
            requester(proposal.requester, type_of_run(context["dag_run"])),
            deadline,
            cannot_approve=proposal.involved() if policy.four_eyes else (),
            warnings=remarks.warnings,
            overridden_by=remarks.overridden_by,
            override_reason=remarks.override_reason,
        )
        with errors_by_reaction():
            changed = read_changed_images(found.version)
        self.body = question(found, asked, changed)
        mark = _mark(found, remarks)
        keep_shown(context, [mark])
        if not_seen := _not_seen(context, mark, ""):
            self.log.warning("%s", not_seen)
        return super().execute(context)

    def execute_complete(self, context: Context, event: Any) -> Any:
        """Go on with an approval that counts."""
        chosen, by, reason = event.get("chosen_options"), answered_by(event), reason_of(event)
        if chosen != [self.APPROVE]:
            ending = f"rejected by {by}{f': {reason}' if reason else ''}" if by else "not answered in time"
            raise AirflowFailException(f"{ending}. Everything is put back")
        found = result_of(context["ti"], "verify", VerifyReport)
        version = found.version
        with errors_by_reaction():
            policy = ApprovalPolicy.read()
            proposal, remarks = proposal_of(context, version, policy)
            if why_not := objection(proposal, policy, by) or _not_seen(context, _mark(found, remarks), reason):
                context["task_state_store"].set(_REFUSED, why_not)
                raise AirflowException(f"{why_not}. The question is asked again")
            super().execute_complete(context, event)
            values = _approval(context, version, by, reason or None)
            return {**values, "signature": sign(values, database_secret())}

    def _deadline(self, context: Context) -> datetime:
        """Until when it may be answered, which an approval that did not count does not move."""
        store = context["task_state_store"]
        kept = store.get(_DEADLINE)
        if kept and store.get(_REFUSED):
            store.delete(_REFUSED)
            return datetime.fromisoformat(str(kept))
        deadline = datetime.now(UTC) + APPROVAL_LIMIT
        store.set(_DEADLINE, deadline.isoformat())
        return deadline


def say_who_decided(context: Context) -> None:
    """Before `promote` runs: check once more that the version may become stable, and hand on who decided.

    AirflowFailException unless the approval that is needed was given, for this run and this version, by somebody who
    can give it.
    """
    operator: Any = context["task"]
    words = words_of(operator.arguments)
    with errors_by_reaction():
        policy = ApprovalPolicy.read()
        proposal, _ = proposal_of(context, _version_of(words), policy)
        decision = Decision(requested_by=_recorded(proposal.requester))
        if needs_approval(proposal, policy):
            decision = _approved(context, proposal, policy)
    operator.arguments = [*words, *render_flags(json_values(decision))]


def say_who_asked(context: Context) -> None:
    """Before `rollback` runs, which needs no approval: hand on who asked for it."""
    operator: Any = context["task"]
    decision = Decision(requested_by=_recorded(context["dag_run"].triggering_user_name))
    operator.arguments = [*words_of(operator.arguments), *render_flags(json_values(decision))]


def proposal_of(context: Context, version: int, policy: ApprovalPolicy) -> tuple[Proposal, GateRemarks]:
    """What this run proposes, from what Airflow knows of the run and `models` of the version.

    The verdict is read only where somebody may have to approve the version.
    """
    run = context["dag_run"]
    form = RolloutForm.parse({name: value for name, value in context["params"].items() if name != REASON})
    is_automatic = type_of_run(run) == AUTOMATIC_RUN
    asked_by: tuple[str, ...] = (run.triggering_user_name,) if run.triggering_user_name else ()
    if is_automatic and not asked_by:
        asked_by = _asked_by_exports(context, version)
    is_read = policy.four_eyes or form.approval or (is_automatic and policy.approve_automatic)
    remarks = read_remarks(version) if is_read else GateRemarks()
    return Proposal(version, asked_by, remarks.overridden_by, is_automatic, form.approval), remarks


def _asked_by_exports(context: Context, version: int) -> tuple[str, ...]:
    """The users whose runs led to the export of that version."""
    found = told(context["inlet_events"][SAVEDMODEL], SavedmodelExtra)
    of_version = [one.extra.requested_by for one in found if one.extra.version == version and one.is_by(EXPORT_DAG)]
    return tuple(dict.fromkeys(name for names in of_version for name in names))


def _approved(context: Context, proposal: Proposal, policy: ApprovalPolicy) -> Decision:
    given = context["ti"].xcom_pull(task_ids=APPROVE_TASK)
    if not isinstance(given, Mapping):
        raise SettingsError(
            f"version {proposal.version} needs an approval, and nobody has given one: marking `{APPROVE_TASK}` as "
            "successful is none. Clear it, with everything after it, and answer under Required Actions"
        )
    values = _approval(context, proposal.version, given.get("approved_by"), given.get("approval_reason"))
    if not is_signed(values, given.get("signature"), database_secret()):
        raise SettingsError(
            f"the result of `{APPROVE_TASK}` is not the answer that was given there for version {proposal.version}: "
            "clear that task, with everything after it, and answer again"
        )
    by = values["approved_by"]
    if why_not := objection(proposal, policy, str(by) if by else None):
        raise SettingsError(f"{why_not}: clear `{APPROVE_TASK}`, with everything after it")
    reason = values["approval_reason"]
    return Decision(_recorded(proposal.requester), _recorded(str(by)), str(reason) if reason else None)


def _approval(context: Context, version: int, by: Json, reason: Json) -> dict[str, Json]:
    """What is signed."""
    run = context["dag_run"]
    return {
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "version": version,
        "approved_by": by,
        "approval_reason": reason,
    }


def _version_of(words: list[str]) -> int:
    [version] = [word.partition("=")[2] for word in words if word.startswith("--version=")]
    return int(version)


def _mark(found: VerifyReport, remarks: GateRemarks) -> str:
    """Of what the question shows."""
    return mark_of(json_values(found), json_values(remarks))


def _not_seen(context: Context, mark: str, reason: str) -> str:
    """Why an answer is not about what `verify` has found; empty when it is."""
    if mark in shown(context) or mark in reason:
        return ""
    return (
        "the question shows what was found first, and `verify` has run again since: its log has the figures that "
        f"count. To approve these, give {mark} in the reason"
    )


def _recorded(name: str | None) -> str | None:
    return one_line(name, NAME_CHARS) if name else None
