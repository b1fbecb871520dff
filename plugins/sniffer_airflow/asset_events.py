"""Asset events as input: in Airflow's UI anybody who may can create one, with nothing or anything in its `extra`.

In: the events of an Asset. Out: what those say that have the right form. The others are named in the log and left out,
so that none of them keeps a run from its work.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sniffer.core.errors import ContractError
from sniffer.core.json_records import parse_record
from sniffer.core.text import one_line

log = logging.getLogger(__name__)

ExtraT = TypeVar("ExtraT", bound="EventExtra")


@dataclass(frozen=True)
class EventExtra:
    """What an event says. `requested_by` names the Airflow users whose runs led to it, none for a schedule's."""

    requested_by: tuple[str, ...] = field(default=(), kw_only=True)

    def problem(self) -> str:
        """What is wrong with the values, in words; empty when nothing is."""
        return ""


@dataclass(frozen=True)
class BlessedExtra(EventExtra):
    """As an event of `blessed_model` has it: the training's workdir, and the version that is reserved for it."""

    workdir: str
    version: int

    def problem(self) -> str:
        """A workdir must be named, a version counts from 1."""
        return "" if self.workdir.strip() and self.version >= 1 else "an empty workdir, or a version below 1"


@dataclass(frozen=True)
class SavedmodelExtra(EventExtra):
    """As an event of `savedmodel` has it: the version that was exported."""

    version: int

    def problem(self) -> str:
        """A version counts from 1."""
        return "" if self.version >= 1 else "a version below 1"


@dataclass(frozen=True)
class Told(Generic[ExtraT]):
    """An event of the right form; `by_task` names the task of ours that emitted it, None for one made by hand."""

    extra: ExtraT
    by_task: tuple[str, str] | None

    def is_by(self, dag_id: str) -> bool:
        """Whether a task of that DAG emitted it: only then are the names in it those of authenticated users."""
        return self.by_task is not None and self.by_task[0] == dag_id


def told(events: Iterable[Any], kind: type[ExtraT]) -> list[Told[ExtraT]]:
    """What the events say, in their order, without those of another form, which the log names."""
    found = []
    for event in events:
        try:
            extra = parse_record(event.extra, kind, "its extra", "", ignore_unknown=True)
            problem = extra.problem()
        except ContractError as error:
            problem = str(error).removesuffix(": ")
        if problem:
            log.warning(
                "an event of the Asset %s, of %s, is left out: %s", event.asset.name, event.timestamp, one_line(problem)
            )
        else:
            found.append(Told(extra, source_task(event)))
    return found


def source_task(event: Any) -> tuple[str, str] | None:
    """DAG and task that emitted the event; None for one that somebody created by hand."""
    if not (event.source_dag_id and event.source_task_id):
        return None
    return event.source_dag_id, event.source_task_id
