"""The decision about a scan that is held: a question under Required Actions, and what its answer does in MySQL.

It waits without holding a worker. Whoever answers is recorded by the name that Airflow authenticated. The scan itself
goes on, or is scored again, when its task is cleared; that is said in the log, and by the exception of this task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Context, TriggerRule
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from sniffer.core.flag_records import Decided, Deciding, HeldScanRecord
from sniffer.core.text import code_span, markdown_text
from sniffer_airflow.executors.errors import errors_by_reaction
from sniffer_airflow.executors.results import result_of
from sniffer_airflow.four_eyes import is_same_person
from sniffer_airflow.names import HOLD_LIMIT
from sniffer_airflow.questions import (
    ASK_AGAIN,
    answered_by,
    decide_database,
    keep_shown,
    mark_of,
    reason_field,
    reason_of,
    shown,
    who_started,
)
from sniffer_airflow.scan.plan import PlannedScan

if TYPE_CHECKING:
    from sniffer.adapters.mysql.database import Database

DECIDE_TASK = "decide_held"
RELEASE, DISCARD = "Release", "Discard"
_PATIENCE_S = 3.0
_LISTED = 20


def decide_held() -> HITLOperator:
    """The decision, asked for when a scan has failed since it is held; skipped when it failed for another reason."""
    return HoldQuestion(
        task_id=DECIDE_TASK,
        trigger_rule=TriggerRule.ONE_FAILED,
        subject="A scan is held: release what it has flagged, or discard it?",
        options=[RELEASE, DISCARD],
        params=reason_field("Needed; recorded with your name in the table *hold_decisions*."),
        response_timeout=HOLD_LIMIT,
        **ASK_AGAIN,
    )


class HoldQuestion(HITLOperator):
    """Asks about all scans of the DAG run that are held, at once.

    An answer without a reason, or a release by whoever started the run where four eyes are asked for, does not count:
    that try fails and says so, and the next one asks again. Killed before all is done, it asks again, about the rest.

    Airflow keeps a question's text for as long as its run, also when the task is cleared, and a shard may be held while
    the question about another one waits: what the text does not show is decided only when the reason names it.
    """

    def execute(self, context: Context) -> Any:
        """Ask, or skip where nothing is held."""
        if context["ti"].xcom_pull(task_ids="plan") is None:
            raise AirflowSkipException("there is no plan, so nothing was scanned")
        try:
            with errors_by_reaction(), decide_database(_PATIENCE_S) as database:
                held = database.holds.of_dag_run(_dag_run(context))
        except AirflowException as error:
            # Most likely what the scan itself failed for: no reason to ask for hours.
            raise AirflowFailException(
                f"whether a scan of this run is held could not be looked up: {error}. Where its task says so, clear "
                "this one when MySQL is back"
            ) from error
        if not held:
            raise AirflowSkipException("no scan of this run is held: it failed for another reason, see its task")
        for one in held:
            self.log.warning("scan %s is held: %s", one.scan_id, one.reason)
        keep_shown(context, [_mark(one) for one in held])
        if unseen := _not_shown(context, held, ""):
            self.log.warning("%s", _to_be_named(unseen))
        self.body = question(held, who_started(context))
        return super().execute(context)

    def execute_complete(self, context: Context, event: Any) -> Any:
        """Do what was answered, if it counts."""
        chosen, name = event.get("chosen_options"), answered_by(event)
        if not chosen or name is None:
            raise AirflowFailException(
                f"nobody has answered within {HOLD_LIMIT.days} days: the scan stays held. Clear this task to be asked "
                "again, or decide by `sniffer release` or `sniffer discard`"
            )
        reason = reason_of(event)
        if why_not := _objection(chosen, name, reason, who_started(context)):
            raise AirflowException(f"{why_not}. The question is asked again")
        with errors_by_reaction(), decide_database() as database:
            held = database.holds.of_dag_run(_dag_run(context))
            unseen = _not_shown(context, held, reason)
            to_decide = [one for one in held if one not in unseen]
            decided = [_decide(database, chosen[0], Deciding(one.scan_id, name, reason)) for one in to_decide]
        for one in decided:
            self.log.info("scan %s: %s by %s: %s", one.scan_id, one.decision, name, reason)
        if unseen:
            raise AirflowException(f"{_to_be_named(unseen)} The question is asked again")
        self.log.warning("clear the task that scans, with everything after it: the run then ends as it should")
        return {"decision": str(chosen[0]).lower(), "decided_by": name, "scans": [one.scan_id for one in decided]}


def _not_shown(context: Context, held: Sequence[HeldScanRecord], reason: str) -> list[HeldScanRecord]:
    """Those that the question does not show, or for another reason, and that the answer does not name."""
    seen, named = shown(context), reason.replace(",", " ").split()
    return [one for one in held if _mark(one) not in seen and one.scan_id not in named]


def _mark(one: HeldScanRecord) -> str:
    # Airflow keeps 64 kB: a thousand shards' reasons are more.
    return mark_of(one.scan_id, one.reason)


def _to_be_named(unseen: Sequence[HeldScanRecord]) -> str:
    what = "; ".join(f"scan {one.scan_id}: {one.reason}" for one in unseen[:_LISTED])
    more = f"; and {len(unseen) - _LISTED} more" if len(unseen) > _LISTED else ""
    return (
        f"The question does not show what is held since ({what}{more}), and Airflow goes on showing it as it was first "
        "asked. To decide about these, give their ids in the reason, or use `sniffer release` or `sniffer discard`."
    )


def question(held: Sequence[HeldScanRecord], may_not_release: str | None) -> str:
    """What people read before they decide, as Markdown."""
    lines = [f"* {code_span(one.scan_id)}: {markdown_text(one.reason)}" for one in held[:_LISTED]]
    if len(held) > _LISTED:
        lines.append(f"* … and {len(held) - _LISTED} more")
    lines += [
        "",
        "**Release** if that is right: what was flagged is seen, and counts as past for later scans. **Discard** if "
        "the model or its server was broken, once that is repaired: the scores are deleted. In both cases clear the "
        "task that scans afterwards, with everything after it: it does what is left.",
        "",
        f"No answer within {HOLD_LIMIT.days} days: it stays held. Look at some of what was flagged first; the page "
        "*A scan is held* in docs/operate.md has the query.",
    ]
    if may_not_release:
        lines.append(f"Anybody but {markdown_text(may_not_release)} may release it; everybody may discard it.")
    return "\n".join(lines)


def _objection(chosen: Sequence[str], name: str, reason: str, may_not_release: str | None) -> str:
    """Why the answer does not count, or an empty text."""
    if not reason.strip():
        return "no reason was given"
    if chosen == [RELEASE] and may_not_release and is_same_person(name, may_not_release):
        return f"{name} has started this run, and cannot release what it found: somebody else has to look at it"
    return ""


def _decide(database: Database, chosen: str, deciding: Deciding) -> Decided:
    return database.holds.release(deciding) if chosen == RELEASE else database.holds.discard(deciding)


def _dag_run(context: Context) -> str:
    planned = result_of(context["ti"], "plan", PlannedScan)
    return planned.dag_run
