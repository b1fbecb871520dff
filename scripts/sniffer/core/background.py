"""Threads for work that must not hold up a loop, and must not keep the process alive either."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class BackgroundThreads(Executor):
    """Runs what is submitted in its order on so many daemon threads, which start with the first.

    Unlike a ThreadPoolExecutor's, the threads are not waited for when the process ends: a call that hangs in a foreign
    system cannot keep a program from exiting.
    """

    def __init__(self, name: str, count: int) -> None:
        self._threads = [
            threading.Thread(target=self._serve, name=f"{name}-{number}" if number else name, daemon=True)
            for number in range(count)
        ]
        self._is_started = False
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def submit(self, work: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run `work` after everything that was submitted before."""
        future: Future[_T] = Future()
        self._queue.put(lambda: _run(future, lambda: work(*args, **kwargs)))
        if not self._is_started:
            self._is_started = True
            for thread in self._threads:
                thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more work; with `cancel_futures` drop what has not started."""
        while cancel_futures:
            try:
                self._queue.get_nowait()
            except queue.Empty:  # asked for like this, since the thread takes from it at the same time
                break
        for _ in self._threads:
            self._queue.put(None)
        if wait and self._is_started:
            for thread in self._threads:
                thread.join()

    def _serve(self) -> None:
        while work := self._queue.get():
            work()


class BackgroundThread(BackgroundThreads):
    """One of them: what is submitted runs one after the other."""

    def __init__(self, name: str) -> None:
        super().__init__(name, 1)


def _run(future: Future[_T], work: Callable[[], _T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - carried over to whoever asks for the result
        future.set_exception(error)
    else:
        future.set_result(result)
