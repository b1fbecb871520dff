"""The thread for work that must not hold up a loop: its order, its errors, and its end."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from sniffer.core.background import BackgroundThread


def test_work_is_done_in_order_on_one_daemon_thread() -> None:
    done: list[tuple[int, str, bool]] = []

    def note(number: int) -> int:
        done.append((number, threading.current_thread().name, threading.current_thread().daemon))
        return 2 * number

    thread = BackgroundThread("side")
    futures = [thread.submit(note, number) for number in range(3)]
    assert [future.result(10) for future in futures] == [0, 2, 4]
    assert done == [(number, "side", True) for number in range(3)]
    thread.shutdown()


def test_an_error_is_raised_by_the_result_and_ends_nothing() -> None:
    thread = BackgroundThread("side")
    with pytest.raises(ZeroDivisionError):
        thread.submit(lambda: 1 / 0).result(10)
    assert thread.submit(lambda: "goes on").result(10) == "goes on"
    thread.shutdown()


def test_what_has_not_started_is_dropped() -> None:
    thread, release, started = BackgroundThread("side"), threading.Event(), threading.Event()
    done: list[int] = []

    def first() -> None:
        started.set()
        release.wait(10)
        done.append(1)

    thread.submit(first)
    assert started.wait(10)
    thread.submit(lambda: done.append(2))
    thread.shutdown(wait=False, cancel_futures=True)
    release.set()
    thread.shutdown()
    assert done == [1]


def test_the_end_may_come_while_the_thread_takes_its_next_work() -> None:
    class Taken:
        """A queue from which the thread takes the last item between every look and every get."""

        def __init__(self, queue: Any) -> None:
            self._queue = queue

        def empty(self) -> bool:
            return False

        def __getattr__(self, name: str) -> Any:
            return getattr(self._queue, name)

    thread = BackgroundThread("side")
    thread._queue = Taken(thread._queue)  # type: ignore[assignment]
    thread.submit(time.sleep, 0).result(10)
    thread.shutdown(cancel_futures=True)
