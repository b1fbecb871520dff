"""What our questions under Required Actions share: the field for a reason, asking again, and what was shown.

Airflow keeps a question's text for as long as its run, also when its task is cleared or tried again. So a task keeps
marks of what its text shows: an answer decides nothing else, unless its reason names it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from airflow.sdk import Context, Param

from sniffer.core.model_records import REASON_CHARS
from sniffer.core.settings import database_settings
from sniffer.core.text import one_line
from sniffer_airflow.executors.connections import fetch, program_environ
from sniffer_airflow.executors.errors import errors_by_reaction
from sniffer_airflow.forms.fields import Json
from sniffer_airflow.four_eyes import asks_for_four_eyes

if TYPE_CHECKING:
    from sniffer.adapters.mysql.database import Database


class _Again(TypedDict):
    retries: int
    retry_delay: timedelta
    retry_exponential_backoff: float


REASON = "reason"
ASK_AGAIN: _Again = {"retries": 20, "retry_delay": timedelta(seconds=5), "retry_exponential_backoff": 0}
"""How often an answer that does not count may be given, as an operator's arguments."""
_SHOWN = "asked"
_MARK_CHARS = 16
_ROLE = "decide"


def reason_field(help_text: str) -> dict[str, Param]:
    """The one field of a question."""
    field = Param(
        None,
        type=["null", "string"],
        title="Reason",
        description_md=help_text,
        allOf=[{"maxLength": REASON_CHARS}],
    )
    return {REASON: field}


def reason_of(event: Any) -> str:
    """The reason that an answer gives; empty without one."""
    return one_line((event.get("params_input") or {}).get(REASON) or "", REASON_CHARS)


def answered_by(event: Any) -> str | None:
    """The user who answered, by the same kind of name as that of the user who triggers a run; None for nobody."""
    user = event.get("responded_by_user")
    return None if user is None else str(user["name"])


def who_started(context: Context) -> str | None:
    """Whoever started the run, where four eyes are asked for, so that somebody else has to answer; else None."""
    with errors_by_reaction():
        return context["dag_run"].triggering_user_name if asks_for_four_eyes() else None


def mark_of(*values: Json) -> str:
    """A short digest of these values, which people can name in a reason."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:_MARK_CHARS]


def keep_shown(context: Context, marks: Sequence[str]) -> None:
    """That is what the question shows, unless it was asked before: then it goes on showing what it did."""
    store = context["task_state_store"]
    if store.get(_SHOWN) is None:
        store.set(_SHOWN, list(marks))


def shown(context: Context) -> Collection[str]:
    """The marks of what the question shows."""
    marks: Any = context["task_state_store"].get(_SHOWN)
    return marks or []


def decide_database(patience_s: float | None = None) -> Database:
    """The database, as whoever keeps what people have decided."""
    from sniffer.adapters.mysql.database import Database  # SQLAlchemy: 0.5 s that parsing a DAG file must not pay

    environ = program_environ(os.environ, fetch(module=_ROLE, aws=False, serving=False))
    settings = database_settings(environ)
    return Database(settings if patience_s is None else replace(settings, patience_s=patience_s))
