"""One thread for work that must not hold up a loop, and must not keep the process alive either."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class BackgroundThread(Executor):
    """Runs what is submitted one after the other on a daemon thread, which starts with the first.

    Unlike a ThreadPoolExecutor's, the thread is not waited for when the process ends: a call that hangs in a foreign
    system cannot keep a program from exiting.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def submit(self, work: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run `work` after everything that was submitted before."""
        future: Future[_T] = Future()
        self._queue.put(lambda: _run(future, lambda: work(*args, **kwargs)))
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
            self._thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more work; with `cancel_futures` drop what has not started."""
        while cancel_futures:
            try:
                self._queue.get_nowait()
            except queue.Empty:  # asked for like this, since the thread takes from it at the same time
                break
        self._queue.put(None)
        if wait and self._thread is not None:
            self._thread.join()

    def _serve(self) -> None:
        while work := self._queue.get():
            work()


def _run(future: Future[_T], work: Callable[[], _T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - carried over to whoever asks for the result
        future.set_exception(error)
    else:
        future.set_result(result)
