"""`python -m sniffer.scan.consume`: one consumer of the fleet. Takes images from the producer, scores them, stores
the rows.

One loop over the socket, and one thread for the work, so that a slow model server or database never silences the
heartbeat. Images that were taken are either committed and acknowledged, or handed back.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.serving import ModelServer
from sniffer.core.errors import ContractError, SettingsError, SnifferError, TransientError
from sniffer.core.logs import configure_logging
from sniffer.core.records import Outcome
from sniffer.core.settings import (
    FleetSettings,
    curve_keys,
    database_settings,
    fleet_settings,
    image_settings,
    serving_settings,
)
from sniffer.scan.request import parse
from sniffer.scan.score import Scorer
from sniffer.scan.wire import (
    PROTOCOL,
    ConsumerSocket,
    Done,
    FromProducer,
    HandBack,
    Heartbeat,
    Hello,
    Leave,
    Refused,
    Reregister,
    ScanFinished,
    Welcome,
    Work,
)

log = logging.getLogger(__name__)

LINGER_S = 0.05
"""How long an incomplete batch waits for more images after the last one came."""

STUCK_STATUS = 70
"""Exit status of a consumer that ends itself because one batch takes for ever (EX_SOFTWARE)."""


class Consumer:
    """The loop of one consumer. `score` runs on a thread of its own; everything else on the caller's."""

    def __init__(
        self,
        socket: ConsumerSocket,
        score: Callable[[Welcome, Sequence[Work]], list[tuple[int, Outcome]]],
        settings: FleetSettings,
        name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._socket = socket
        self._score = score
        self._settings = settings
        self._name = name
        self._clock = clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="score")
        self._job: Welcome | None = None
        self._inbox: deque[Work] = deque()
        self._batch: list[Work] = []
        self._working: Future[list[tuple[int, Outcome]]] | None = None
        self._work_began = 0.0
        self._last_arrival = 0.0
        self._last_heard = clock()
        self._last_beat = 0.0
        self._ending = False
        self.done = 0

    @property
    def has_joined(self) -> bool:
        """Whether a producer has welcomed us."""
        return self._job is not None

    def stop(self) -> None:
        """Take no more work: finish the batch in hand, hand the rest back, end. Safe in a signal handler."""
        self._ending = True
        self._socket.waker.wake()

    def run(self) -> None:
        """Work until the producer says the scan has ended, or `stop` is called.

        Raises TransientError when the producer, the model server or MySQL stays away, ContractError and
        SettingsError when going on would be wrong. In every case what was taken has been handed back.
        """
        self._say_hello()
        try:
            while not (self._ending and self._working is None):
                self._turn()
        except SnifferError as error:
            self._leave(error)
            raise
        self._leave(None)

    def _turn(self) -> None:
        for message in self._socket.receive(self._wait_s()):
            self._last_heard = self._clock()
            self._take(message)
        self._finish_batch()
        self._start_batch()
        self._beat()
        self._check_deadlines()

    def _wait_s(self) -> float:
        """Until the next thing that happens by itself: a beat, or an incomplete batch that has waited enough."""
        return LINGER_S if self._inbox and self._working is None else self._settings.beat_s / 2

    # ---- messages -------------------------------------------------------------------------------------------

    def _say_hello(self) -> None:
        self._socket.send(Hello(PROTOCOL, self._name, credit=2 * self._settings.batch_size))

    def _take(self, message: FromProducer) -> None:
        match message:
            case Work():
                self._receive_work(message)
            case Welcome():
                self._begin(message)
            case Reregister():
                self._say_hello()
            case ScanFinished():
                self._inbox.clear()
                self._ending = True
            case Refused():
                raise ContractError(f"the producer at {self._socket.endpoint} refuses us: {message.reason}")
            case Heartbeat():
                pass  # hearing it was all

    def _begin(self, welcome: Welcome) -> None:
        """A producer has us. What an earlier one sent is listed again by this one, so it is dropped here."""
        if self._job is None or self._job.session != welcome.session:
            self._inbox.clear()
            configure_logging(self._name, welcome.scan_id)
            log.info("working for model version %d", welcome.model_version)
        self._job = welcome

    def _receive_work(self, work: Work) -> None:
        self._last_arrival = self._clock()
        known = {held.number for held in (*self._inbox, *self._batch)}
        # After we were taken for dead the same image may come a second time, and a late one from an earlier session.
        if self._job is not None and work.session == self._job.session and work.number not in known:
            self._inbox.append(work)

    # ---- work -----------------------------------------------------------------------------------------------

    def _start_batch(self) -> None:
        size = self._settings.batch_size
        if self._working or self._ending or not self._inbox or self._job is None:
            return
        if len(self._inbox) < size and self._clock() - self._last_arrival < LINGER_S:
            return
        self._batch = [self._inbox.popleft() for _ in range(min(size, len(self._inbox)))]
        self._work_began = self._clock()
        self._working = self._thread.submit(self._score, self._job, self._batch)
        self._working.add_done_callback(lambda _: self._socket.waker.wake())

    def _finish_batch(self) -> None:
        if self._working is None or not self._working.done():
            return
        outcomes = self._working.result()
        self._socket.send(Done(self._batch[0].session, tuple(outcomes), credit=len(self._batch)))
        self.done += len(outcomes)
        self._working, self._batch = None, []

    # ---- time -----------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        now = self._clock()
        if now - self._last_beat >= self._settings.beat_s:
            self._last_beat = now
            holds = tuple(work.number for work in (*self._batch, *self._inbox))
            self._socket.send(Heartbeat(self._job.session if self._job else "", holds))

    def _check_deadlines(self) -> None:
        now = self._clock()
        if self._working is not None and now - self._work_began > self._settings.work_limit_s:
            # A thread cannot be ended from outside; dying gives the images to others, and the poison rule counts.
            log.error("one batch has taken more than %g s: this consumer ends itself", self._settings.work_limit_s)
            os._exit(STUCK_STATUS)
        limit_s = self._settings.producer_deadline_s if self._job else self._settings.no_consumer_s
        if now - self._last_heard > limit_s and self._working is None:
            raise TransientError(f"no word from a producer at {self._socket.endpoint} for {limit_s:g} s")

    def _leave(self, error: SnifferError | None) -> None:
        """Hand back what was not touched and say goodbye, with the reason if there is one."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        untouched = [*self._batch, *self._inbox]
        if untouched:
            self._socket.send(HandBack(untouched[0].session, tuple(work.number for work in untouched)))
        fatal = isinstance(error, ContractError | SettingsError)
        self._socket.send(Leave(error=str(error) if error else "", fatal=fatal))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; the exit status is 0 when the producer ended the scan or SIGTERM came."""
    flags = parse(_parser(), argv)
    name = f"{flags.name}-{os.getpid()}"
    configure_logging(name)
    try:
        return _consume(flags.endpoint, name, check=not flags.skip_checks)
    except SnifferError as error:
        log.error("%s", error)
        return error.exit_status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sniffer.scan.consume", description=__doc__)
    parser.add_argument("--endpoint", required=True, help="the producer: tcp://host:port, or ipc://path")
    parser.add_argument("--name", default="consumer", help="what logs call this consumer")
    parser.add_argument("--skip-checks", action="store_true", help="start at once: the producer checks the database")
    return parser


def _consume(endpoint: str, name: str, *, check: bool) -> int:
    fleet = fleet_settings()
    with Database(database_settings()) as database, ModelServer(serving_settings()) as server:
        if check:
            _check_database(database)
        identity = f"{name}-{os.urandom(4).hex()}".encode()
        with ConsumerSocket(endpoint, identity, curve_keys()) as socket:
            consumer = Consumer(socket, Scorer(database, server, image_settings()).score, fleet, name)
            signal.signal(signal.SIGTERM, lambda *_: consumer.stop())
            signal.signal(signal.SIGINT, lambda *_: consumer.stop())
            consumer.run()
        if consumer.has_joined:
            log.info("ended after %d images", consumer.done)
    return 0


def _check_database(database: Database) -> None:
    """Wrong settings end here; a database that is away for the moment is waited for when the first row is due."""
    try:
        database.check()
    except TransientError as error:
        log.warning("%s", error)


if __name__ == "__main__":
    sys.exit(main())
