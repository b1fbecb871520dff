"""The consumer's loop: takes images from the producer, has them scored and stored, acknowledges.

One loop over the channel, and one thread for the work, so that a slow model server or database never silences the
heartbeat. Images that were taken are either committed and acknowledged, or handed back.
"""

from __future__ import annotations

import logging
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path

from sniffer.core.errors import ContractError, SettingsError, SnifferError, SupersededRun, TransientError
from sniffer.core.records import Outcome
from sniffer.core.settings import FleetSettings
from sniffer.core.text import one_line
from sniffer.scan.channel import Clock, ConsumerChannel
from sniffer.scan.messages import (
    LONGEST_ERROR,
    PROTOCOL,
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
from sniffer.scan.turns import TurnWatch

log = logging.getLogger(__name__)

LINGER_S = 0.05
"""How long an incomplete batch waits for more images after the last one came."""

ASKED_FOR = 2
"""So many times what it has asked for a consumer takes; a producer that sends more does not keep to the credit."""

END_GRACE_S = 1.5
"""How long the batch in hand may still take once the end has come; then it is handed back, whatever holds it up."""


class NoProducer(TransientError):
    """No producer has been heard for as long as one is waited for."""


class Consumer:
    """The loop of one consumer. `score` runs on the one thread of `scorer`; everything else on the caller's.

    `score` calls its last argument as soon as the batch is decoded; `on_welcome` is called when a producer's scan
    begins. When the loop has ended, a batch that hangs may still run: its thread must not keep the process alive.
    """

    def __init__(
        self,
        channel: ConsumerChannel,
        score: Callable[[Welcome, Sequence[Work], Callable[[], None]], list[tuple[int, Outcome]]],
        scorer: Executor,
        settings: FleetSettings,
        name: str,
        clock: Clock,
        *,
        on_welcome: Callable[[Welcome], None] = lambda _: None,
    ) -> None:
        self._channel = channel
        self._score = score
        self._scorer = scorer
        self._settings = settings
        self._name = name
        self._clock = clock
        self._on_welcome = on_welcome
        self._job: Welcome | None = None
        self._inbox: deque[Work] = deque()
        self._inbox_bytes = 0
        # What we ask for, twice: what is under way when we say hello again comes beside it.
        self._most_images = ASKED_FOR * 2 * settings.batch_size
        self._most_bytes = ASKED_FOR * max(settings.held_bytes, settings.max_image_bytes)
        self._batch: list[Work] = []
        self._working: Future[list[tuple[int, Outcome]]] | None = None
        self._is_decoded = self._decoded_is_told = False
        self._work_started_at = 0.0
        self._last_arrival = 0.0
        self._last_heard = clock()
        self._last_beat = 0.0
        self._turns = TurnWatch(clock, settings.producer_deadline_s / 4)
        self._ending = False
        self._ends_by: float | None = None
        self._error: SnifferError | None = None
        self.done = 0

    @property
    def has_joined(self) -> bool:
        """Whether a producer has welcomed us."""
        return self._job is not None

    @property
    def scan_id(self) -> str | None:
        """The scan that we were last welcomed to."""
        return self._job.scan_id if self._job else None

    def stop(self) -> None:
        """Take no more work: finish the batch in hand if that is soon done, hand the rest back, end.

        Safe in a signal handler.
        """
        self._ending = True
        self._channel.wake()

    def run(self) -> None:
        """Work until the producer says the scan has ended, or `stop` is called.

        Raises NoProducer when the producer stays away, TransientError when the model server or MySQL does,
        ContractError and SettingsError when going on would be wrong. In every case what was taken has been handed back.
        """
        self.say_hello()
        while self.turn():
            self._channel.wait(self.wait_s)

    @property
    def wait_s(self) -> float:
        """How long to wait if nothing arrives: until the next beat, or until an incomplete batch has waited enough."""
        if self._ending or (self._inbox and self._working is None):
            return LINGER_S
        return self._settings.beat_s / 2

    def turn(self) -> bool:
        """Do what there is to do now, without waiting; returns whether another turn is needed.

        The last turn says goodbye, and raises the error that ended the work, if one did.
        """
        if frozen_s := self._turns.frozen_s(self.wait_s):
            self._last_heard += frozen_s
            self._work_started_at += frozen_s
        try:
            self._work()
        except SnifferError as error:
            self._end_with(error)
        except Exception as error:  # noqa: BLE001 - no image's fault: all are handed back, with one line that says why
            self._end_with(TransientError(_unexpected(error)))
        if not self._ending or self._may_finish():
            return True
        self._leave()
        if self._error is not None:
            raise self._error
        return False

    def _end_with(self, error: SnifferError) -> None:
        self._error = self._error or error
        self._ending = True

    def _may_finish(self) -> bool:
        """Whether the batch in hand still has the time to be done."""
        if self._working is None:
            return False
        if self._ends_by is None:
            self._ends_by = self._clock() + END_GRACE_S
        return self._clock() < self._ends_by

    def _work(self) -> None:
        for message in self._channel.receive():
            self._last_heard = self._clock()
            self._take(message)
        self._finish_batch()
        self._start_batch()
        self._beat()
        self._check_deadlines()

    # ---- messages -------------------------------------------------------------------------------------------

    def say_hello(self) -> None:
        """Ask to join: the first message of a consumer, which may hold images of an earlier producer."""
        credit = max(0, 2 * self._settings.batch_size - len(self._batch) - len(self._inbox))
        limit = self._settings.max_image_bytes
        self._channel.send(Hello(PROTOCOL, self._name, credit, self._session, self._holds, limit))

    @property
    def _session(self) -> str:
        return self._job.session if self._job else ""

    @property
    def _holds(self) -> tuple[int, ...]:
        """The numbers of what we hold of the current session; a batch of an earlier one may still be running."""
        return self._numbers([*self._batch, *self._inbox])

    def _numbers(self, works: Sequence[Work]) -> tuple[int, ...]:
        return tuple(work.number for work in works if work.session == self._session)

    def _take(self, message: FromProducer) -> None:
        match message:
            case Work():
                self._receive_work(message)
            case Welcome():
                self._begin(message)
            case Reregister():
                self.say_hello()
            case ScanFinished():
                self._clear_inbox()
                self._ending = True
            case Refused():
                raise ContractError(f"the producer at {self._channel.endpoint} refuses us: {one_line(message.reason)}")
            case Heartbeat():
                pass  # hearing it was all

    def _begin(self, welcome: Welcome) -> None:
        """A producer has us. What an earlier one sent is listed again by this one, so it is dropped here."""
        if self._session == welcome.session:
            return
        dropped, self._job = len(self._inbox), welcome
        self._clear_inbox()
        self._on_welcome(welcome)
        log.info("working for model version %d", welcome.model_version)
        if dropped:
            self.say_hello()  # our last one did not ask for the room that they took

    def _clear_inbox(self) -> None:
        self._inbox.clear()
        self._inbox_bytes = 0

    def _receive_work(self, work: Work) -> None:
        self._last_arrival = self._clock()
        # After we were taken for dead the same image may come a second time, and a late one from an earlier session.
        if self._job is None or work.session != self._session or work.number in self._holds:
            return
        images, size_bytes = len(self._inbox) + 1, self._inbox_bytes + len(work.body)
        if images > self._most_images or size_bytes > self._most_bytes:
            raise ContractError(
                f"the producer at {self._channel.endpoint} sends more than it was asked for: {images} images of "
                f"{size_bytes} bytes wait (at most {self._most_images} of {self._most_bytes}): give it and "
                "its consumers the same SNIFFER_HELD_BYTES and SNIFFER_MAX_IMAGE_BYTES, and run the same release"
            )
        self._inbox.append(work)
        self._inbox_bytes = size_bytes

    # ---- work -----------------------------------------------------------------------------------------------

    def _start_batch(self) -> None:
        size = self._settings.batch_size
        if self._working or self._ending or not self._inbox or self._job is None:
            return
        if len(self._inbox) < size and self._clock() - self._last_arrival < LINGER_S:
            return
        self._batch = [self._inbox.popleft() for _ in range(min(size, len(self._inbox)))]
        self._inbox_bytes -= sum(len(work.body) for work in self._batch)
        self._work_started_at = self._clock()
        self._is_decoded = self._decoded_is_told = False
        self._working = self._scorer.submit(self._score, self._job, self._batch, self._note_decoded)
        self._working.add_done_callback(lambda _: self._channel.wake())

    def _note_decoded(self) -> None:
        """The batch is decoded. Called on the scorer's thread."""
        self._is_decoded = True
        self._channel.wake()

    def _finish_batch(self) -> None:
        if self._working is None or not self._working.done():
            return
        working, self._working = self._working, None
        outcomes = self._outcomes(working)
        self._channel.send(Done(self._batch[0].session, tuple(outcomes), credit=len(self._batch)))
        self.done += len(outcomes)
        self._batch = []

    def _outcomes(self, working: Future[list[tuple[int, Outcome]]]) -> list[tuple[int, Outcome]]:
        try:
            return working.result()
        except SupersededRun as error:
            # The newer run lists these images again, and will welcome us too.
            log.warning("%s: %d images are dropped", error, len(self._batch))
            return []

    # ---- time -----------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        now = self._clock()
        is_news = self._working is not None and self._is_decoded and not self._decoded_is_told
        if is_news or now - self._last_beat >= self._settings.beat_s:
            self._last_beat, self._decoded_is_told = now, self._is_decoded
            decoded = self._batch if self._is_decoded else []
            self._channel.send(Heartbeat(self._session, self._holds, self._numbers(decoded)))

    def _check_deadlines(self) -> None:
        now = self._clock()
        if self._working is not None and not self._ending and now - self._work_started_at > self._settings.work_limit_s:
            # A thread cannot be ended from outside: we leave without it, and it ends with the process.
            self._ends_by = now
            raise TransientError(f"one batch has taken more than {self._settings.work_limit_s:g} s")
        limit_s = self._settings.producer_deadline_s if self._job else self._settings.no_consumer_s
        if now - self._last_heard > limit_s and self._working is None:
            raise NoProducer(f"no word from a producer at {self._channel.endpoint} for {limit_s:g} s")

    def _leave(self) -> None:
        """Hand back what was not touched and say goodbye, with the reason if there is one."""
        self._scorer.shutdown(wait=False)
        untouched = [*self._batch, *self._inbox]
        if untouched:
            self._channel.send(HandBack(untouched[0].session, tuple(work.number for work in untouched)))
        fatal = isinstance(self._error, ContractError | SettingsError)
        self._channel.send(Leave(one_line(self._error, LONGEST_ERROR) if self._error else "", fatal))


def _unexpected(error: Exception) -> str:
    """An error that nobody foresaw, on one line: what it is, and where it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"unexpected {type(error).__name__}{where}: {one_line(error)}"
