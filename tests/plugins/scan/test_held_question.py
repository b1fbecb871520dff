"""An answer decides about the scans that its question shows, or that it names: no other was looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from support.task_context import TaskInstance, TaskStateStore, task_context

from sniffer.core.flag_records import Deciding
from sniffer_airflow.scan import held
from sniffer_airflow.scan.held import decide_held

FIRST, SECOND = ("night.1", "5 % are flagged"), ("night.2", "9 % are flagged")


class Holds:
    """Holds of one run, in memory."""

    def __init__(self, *holds: tuple[str, str]) -> None:
        self.left = dict(holds)

    def of_dag_run(self, _: str) -> list[Any]:
        return [SimpleNamespace(scan_id=scan_id, reason=reason) for scan_id, reason in self.left.items()]

    def release(self, deciding: Deciding) -> Any:
        del self.left[deciding.scan_id]
        return SimpleNamespace(scan_id=deciding.scan_id, decision="released")


def answer(monkeypatch: pytest.MonkeyPatch, holds: Holds, *shown: tuple[str, str], reason: str) -> None:
    @contextmanager
    def database() -> Iterator[Any]:
        yield SimpleNamespace(holds=holds)

    monkeypatch.setattr(held, "decide_database", database)
    monkeypatch.setattr(held, "_dag_run", lambda _: "scan_bucket/night")
    store = TaskStateStore()
    store.set("asked", [held._mark(one) for one in Holds(*shown).of_dag_run("")])
    context: Any = task_context(TaskInstance(task_id="decide_held"), store)
    context["dag_run"] = SimpleNamespace(triggering_user_name=None)
    event = {
        "chosen_options": ["Release"],
        "params_input": {"reason": reason},
        "responded_by_user": {"id": "1", "name": "ben"},
    }
    decide_held().execute_complete(context, event)


def test_what_is_shown_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    holds = Holds(FIRST, SECOND)
    answer(monkeypatch, holds, FIRST, SECOND, reason="looked at both")
    assert not holds.left


@pytest.mark.parametrize("since", [SECOND, (FIRST[0], "40 % are flagged")])
def test_what_is_held_since_is_not_released_by_an_answer_about_another(
    monkeypatch: pytest.MonkeyPatch, since: tuple[str, str]
) -> None:
    """Another shard, that ended while the question waited; or the same, scored again after a discard."""
    holds = Holds(FIRST, since)
    with pytest.raises(AirflowException, match=f"held since .scan {since[0]}: {since[1]}.* is asked again") as refused:
        answer(monkeypatch, holds, FIRST, reason="looked at it")
    assert not isinstance(refused.value, AirflowFailException) and holds.left == dict([since])
    answer(monkeypatch, holds, FIRST, reason=f"{since[0]}, too")
    assert not holds.left
