"""Which Airflow a pod is of: several may start pods in one namespace, with DAGs, runs and tasks of the same names.

Each has an id, the Variable `sniffer_airflow_id`, and its pods carry it as a label. The scheduler makes the Variable
before it starts any task. Pods of other Airflows are neither followed nor deleted.
"""

from __future__ import annotations

import re
import uuid
from typing import Any

from airflow.sdk import Variable
from airflow.sdk.exceptions import AirflowException, AirflowFailException

VARIABLE = "sniffer_airflow_id"
LABEL = "sniffer/airflow-id"

_FORM = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
"""What Kubernetes takes for a label's value."""


def airflow_id() -> str:
    """The id of the Airflow whose task this is.

    AirflowException without one, which a later try may find; AirflowFailException for one that cannot be a label.
    """
    found = str(Variable.get(VARIABLE, default="")).strip()
    if not _FORM.fullmatch(found):
        # After an upgrade a worker may be a minute ahead of the scheduler.
        raise (AirflowFailException if found else AirflowException)(
            f"the Variable {VARIABLE} must be up to 63 letters, digits, `.`, `_` and `-`, and is {found!r}. It tells "
            "this Airflow's pods from those of others in their namespace. The scheduler makes it when it starts with "
            "SNIFFER_RUN_IN=pods: restart it, or set the Variable to a name that no other Airflow has"
        )
    return found


def ensure_airflow_id() -> None:
    """Have an id, in Airflow's own database: of several schedulers that start at once, the first one's stays."""
    from airflow.models.variable import Variable as StoredVariable
    from airflow.utils.session import create_session

    # Also where a secrets backend or the environment has it. An empty one is somebody's, and airflow_id() says so.
    if StoredVariable.get(VARIABLE, default_var=None) is not None:
        return
    what = "Tells this Airflow's pods from those of others in their namespace. Kept for good."
    made = StoredVariable(key=VARIABLE, val=uuid.uuid4().hex, description=what)  # type: ignore[no-untyped-call]
    try:
        with create_session() as session:
            session.add(made)
    except Exception:
        # Another scheduler was first, or the database is away; which, its own driver's error does not say alike.
        if StoredVariable.get(VARIABLE, default_var=None) is None:
            raise


def is_ours(pod: Any, own: str) -> bool:
    """Whether the Airflow of that id has started the pod.

    One without an id is of an earlier release, and is judged by the names of its run and task alone, as that did: it is
    neither lost nor left. None is started any more, and each has a deadline.
    """
    return (pod.metadata.labels or {}).get(LABEL) in (None, own)


def has_no_id(pod: Any) -> bool:
    """Whether the pod is of an earlier release, which gave none."""
    return LABEL not in (pod.metadata.labels or {})
