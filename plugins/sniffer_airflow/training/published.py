"""The tasks of `publish_labels`, and what an event of the Asset `published_labels` says about decisions."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from airflow.sdk import BaseOperator, task
from airflow.sdk.exceptions import AirflowSkipException

from sniffer.core.published_labels import PublishedLabels
from sniffer.core.text import one_line
from sniffer_airflow.asset_events import EventExtra, told
from sniffer_airflow.executors.choose import from_plan, program
from sniffer_airflow.executors.errors import errors_by_reaction
from sniffer_airflow.executors.results import result_of
from sniffer_airflow.forms.fields import Json
from sniffer_airflow.names import PUBLISH_DAG, PUBLISHED_LABELS
from sniffer_airflow.training.form import PublishForm
from sniffer_airflow.training.plan import plan_publish
from sniffer_airflow.training.settings import retraining_of_airflow

log = logging.getLogger(__name__)

PUBLISH_PROGRAM = "sniffer.review.publish_labels"


@dataclass(frozen=True)
class PublishedExtra(EventExtra):
    """As an event of `published_labels` has it: the table's place, and the digest of what it holds."""

    location: str
    digest: str


def published_for(events: Iterable[Any]) -> tuple[str, ...]:
    """The users whose runs of `publish_labels` led to these events."""
    return tuple(
        name for one in told(events, PublishedExtra) if one.is_by(PUBLISH_DAG) for name in one.extra.requested_by
    )


@task(task_id="plan")
def plan_of_publishing(*, params: Any = None) -> dict[str, Json]:
    """Which table is written."""
    with errors_by_reaction():
        return asdict(plan_publish(PublishForm.parse(params), retraining_of_airflow()))


def publish_program() -> BaseOperator:
    """The program that writes the table; its XCom is its result."""
    return program(
        task_id="publish",
        module=PUBLISH_PROGRAM,
        arguments=from_plan("publish"),
        needs=("aws", "mysql"),
        max_active_tis_per_dag=1,
    )


@task(inlets=[PUBLISHED_LABELS], outlets=[PUBLISHED_LABELS])
def announce_published(
    *, ti: Any = None, dag_run: Any = None, inlet_events: Any = None, outlet_events: Any = None
) -> dict[str, Json]:
    """An event of the Asset `published_labels` when the table has changed; skipped when it has not, or has no label."""
    published = result_of(ti, "publish", PublishedLabels)
    labels = ", ".join(f"{count:,} {label}" for label, count in published.labels.items())
    for conflict in published.conflicts:
        log.warning("the same bytes were decided both ways, a lead has to settle it: %s", one_line(conflict))
    if not any(published.labels.values()):
        raise AirflowSkipException("no decision counts yet: the table has no label")
    earlier = [one.extra for one in told(inlet_events[PUBLISHED_LABELS], PublishedExtra) if one.is_by(PUBLISH_DAG)]
    same_place = [extra for extra in earlier if extra.location == published.location]
    if same_place and same_place[-1].digest == published.digest:
        raise AirflowSkipException(f"the table has {labels}, as before")
    log.info("the table %s has %s", one_line(published.location), labels)
    user = dag_run.triggering_user_name
    extra: dict[str, Json] = {
        "location": published.location,
        "digest": published.digest,
        "labels": dict(published.labels),
        "left_out": dict(published.left_out),
        "requested_by": [user] if user else [],
    }
    outlet_events[PUBLISHED_LABELS].extra = extra
    return extra
