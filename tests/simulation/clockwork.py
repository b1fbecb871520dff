"""Simulated time, processes and threads: one event after the other, in an order that only the seed decides.

A thread is a greenlet. It runs until it waits for something; then the next event in time is due. Nothing runs at the
same moment as anything else, and no real time passes.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

import greenlet

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Clockwork:
    """The events to come, in the order of their time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self.hub = greenlet.getcurrent()
        self.current: Thread | None = None
        self.threads: list[Thread] = []
        self.on_failure: Callable[[Process, Exception], None] = lambda _process, _error: None

    def time(self) -> float:
        """Seconds since the history began: what the real programs get as their clock."""
        return self.now

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        """Let `action` happen so much later. It must not wait."""
        self._count += 1
        heapq.heappush(self._events, (self.now + delay_s, self._count, action))

    def run(self, is_over: Callable[[], bool], horizon_s: float) -> None:
        """Let time pass until it is over, nothing can happen any more, or the horizon is reached."""
        events = self._events
        while events and not is_over():
            if events[0][0] > horizon_s:
                return
            self.now, _, action = heapq.heappop(events)
            action()

    def sleep(self, duration_s: float) -> None:
        """Let the current thread wait so long."""
        thread = self.this_thread()
        thread.resume_after(duration_s)
        thread.park()

    def this_thread(self) -> Thread:
        """The thread that runs now."""
        if self.current is None:
            raise RuntimeError("only a simulated thread can wait")
        return self.current

    def close(self) -> None:
        """Unwind what is still under way, so that a history leaves nothing behind."""
        for thread in self.threads:
            thread.unwind()
        self.threads.clear()
        self._events.clear()


class Process:
    """Threads that live and die together. `stop_until` is SIGSTOP and SIGCONT, `kill` is SIGKILL."""

    def __init__(self, clockwork: Clockwork, name: str) -> None:
        self.clockwork = clockwork
        self.name = name
        self.alive = True
        self.stopped_until = 0.0
        self.at_end: list[Callable[[], None]] = []

    def spawn(self, work: Callable[[], None]) -> Thread:
        """Start a thread."""
        thread = Thread(self, work)
        self.clockwork.threads.append(thread)
        thread.resume_after(0.0)
        return thread

    def kill(self) -> None:
        """End at once: none of its threads ever runs again."""
        if self.alive:
            self.alive = False
            for action in self.at_end:
                action()

    def stop_until(self, moment: float) -> None:
        """Freeze all threads until then."""
        self.stopped_until = max(self.stopped_until, moment)


class Thread:
    """One thread of a process."""

    def __init__(self, process: Process, work: Callable[[], None]) -> None:
        self.process = process
        self._clockwork = process.clockwork
        self._work = work
        self._token = 0
        self._greenlet = greenlet.greenlet(self._main, parent=self._clockwork.hub)

    def resume_after(self, delay_s: float) -> None:
        """Go on so much later, unless something else makes it go on before."""
        token = self._token
        self._clockwork.after(delay_s, lambda: self._resume(token))

    def park(self) -> None:
        """Wait until resumed."""
        self._clockwork.hub.switch()

    def unwind(self) -> None:
        """Give its stack back."""
        if self._greenlet:
            self._greenlet.throw(greenlet.GreenletExit)

    def _resume(self, token: int) -> None:
        if token != self._token or not self.process.alive:
            return
        wait_s = self.process.stopped_until - self._clockwork.now
        if wait_s > 0:
            self._clockwork.after(wait_s, lambda: self._resume(token))
            return
        self._token += 1
        self._clockwork.current = self
        self._greenlet.switch()
        self._clockwork.current = None

    def _main(self) -> None:
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - the history reports it
            self._clockwork.on_failure(self.process, error)


class SimulatedThreads(Executor):
    """An executor whose threads are simulated."""

    def __init__(self, process: Process, threads: int) -> None:
        self._process = process
        self._free = threads
        self._queue: deque[tuple[Future[Any], Callable[[], Any]]] = deque()

    def submit(self, work: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run `work` as soon as a thread is free."""
        future: Future[_T] = Future()
        self._queue.append((future, lambda: work(*args, **kwargs)))
        if self._free:
            self._free -= 1
            self._process.spawn(self._serve)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Drop what has not started. Nobody waits: threads of a process that ended do not run."""
        if cancel_futures:
            self._queue.clear()

    def _serve(self) -> None:
        while self._queue:
            future, work = self._queue.popleft()
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 - carried over to whoever asks for the result
                future.set_exception(error)
            else:
                future.set_result(result)
        self._free += 1
