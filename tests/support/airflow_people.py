"""People who use Airflow's real REST API, each logged in under a name of their own, while a DAG runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from fastapi import FastAPI

LIMIT_S = 200.0
_POLL_S = 0.3


class Person:
    """A user of Airflow's simple auth manager."""

    def __init__(self, name: str, role: str = "USER") -> None:
        from airflow.api_fastapi.app import get_auth_manager
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
        from fastapi.testclient import TestClient

        self.name = name
        app = api_server()
        token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=name, role=role))
        self._api = TestClient(app, headers={"Authorization": f"Bearer {token}"}, base_url="http://airflow")

    def call(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        """The answer's JSON; AssertionError for any other status."""
        answer = self._api.request(method, f"/api/v2{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def question(self, dag_id: str) -> dict[str, Any]:
        """The question that waits for an answer, once there is one."""
        path = f"/dags/{dag_id}/dagRuns/~/hitlDetails?response_received=false&state=awaiting_input&order_by=-created_at"
        found: dict[str, Any] = wait_for(
            lambda: next(iter(self.call("GET", path)["hitl_details"]), None), f"a question of {dag_id}"
        )
        return found

    def answer(self, question: dict[str, Any], option: str, reason: str | None = None) -> None:
        """Answer it."""
        task = question["task_instance"]
        run = quote(task["dag_run_id"], safe="")
        path = f"/dags/{task['dag_id']}/dagRuns/{run}/taskInstances/{task['task_id']}/-1/hitlDetails"
        self.call("PATCH", path, {"chosen_options": [option], "params_input": {"reason": reason}})


@cache
def api_server() -> FastAPI:
    """One for all people: making it takes seconds."""
    from airflow.api_fastapi.app import create_app

    return create_app("core")


def wait_for(look: Callable[[], Any], what: str) -> Any:
    """What `look` returns, as soon as it is true."""
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(_POLL_S)
    raise AssertionError(f"{what} did not come within {LIMIT_S:.0f} s")


@contextmanager
def meanwhile(act: Callable[[], None]) -> Iterator[None]:
    """Run `act` in a thread beside the block; its failure is the block's."""
    failures: list[BaseException] = []
    ended = threading.Event()

    def guarded() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread of the test
            failures.append(error)
            # `DAG.test()` would wait for ever for an answer that nobody gives now.
            while not ended.wait(_POLL_S):
                _give_up()

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(LIMIT_S)
    if failures:
        raise failures[0]


def _give_up() -> None:
    """Fail every task that waits for an answer."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from airflow.utils.state import TaskInstanceState
    from sqlalchemy import select

    with create_session() as session:
        waiting = select(TaskInstance).where(TaskInstance.state == TaskInstanceState.AWAITING_INPUT)
        for task in session.scalars(waiting):
            task.state = TaskInstanceState.FAILED
