"""The consumer's loop in memory: what it says, turn by turn, when producers change and work fails."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from datetime import UTC, datetime
from typing import ParamSpec, TypeVar

import pytest

from sniffer.core.errors import ContractError, SupersededRun, TransientError
from sniffer.core.records import ListedObject, Outcome
from sniffer.core.settings import FleetSettings
from sniffer.scan.consumer import END_GRACE_S, Consumer, NoProducer
from sniffer.scan.messages import (
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
    ToProducer,
    Welcome,
    Work,
)

_P = ParamSpec("_P")
_T = TypeVar("_T")

IMAGE = ListedObject("bkt", "k", "e", 1, datetime(2026, 11, 20, tzinfo=UTC))


class Later(Executor):
    """An executor whose one thread runs when the test says so."""

    def __init__(self) -> None:
        self._work: list[Callable[[], None]] = []

    def submit(self, work: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        future: Future[_T] = Future()

        def run() -> None:
            try:
                future.set_result(work(*args, **kwargs))
            except Exception as error:  # noqa: BLE001 - as a real executor does
                future.set_exception(error)

        self._work.append(run)
        return future

    def run(self) -> None:
        """Do what was submitted."""
        while self._work:
            self._work.pop()()


class Line:
    """A channel whose other end is the test."""

    endpoint = "memory://"

    def __init__(self) -> None:
        self.inbox: deque[FromProducer] = deque()
        self.said: list[ToProducer] = []

    def wait(self, timeout_s: float) -> None:
        """Nothing comes by waiting."""

    def wake(self) -> None:
        """Nobody waits."""

    def receive(self) -> Iterator[FromProducer]:
        """What the test has sent."""
        while self.inbox:
            yield self.inbox.popleft()

    def send(self, message: ToProducer) -> None:
        """Kept for the test."""
        self.said.append(message)


class Bench:
    """A consumer with batches of two, its line and its thread."""

    def __init__(self, error: Exception | None = None, settings: FleetSettings | None = None) -> None:
        self.line, self.thread, self.now = Line(), Later(), 0.0
        self._error = error
        settings = settings or FleetSettings(batch_size=2, beat_s=20.0)
        self.consumer = Consumer(self.line, self._score, self.thread, settings, "c", lambda: self.now)

    def _score(self, _job: Welcome, batch: Sequence[Work], on_decoded: Callable[[], None]) -> list[tuple[int, Outcome]]:
        on_decoded()
        if self._error:
            raise self._error
        return [(work.number, Outcome.PREDICTED) for work in batch]

    def turn(self, *messages: FromProducer) -> bool:
        """Let these messages arrive, and the loop turn once."""
        self.now += 1
        self.line.inbox += messages
        return self.consumer.turn()

    def said(self, kind: type[_T]) -> list[_T]:
        """What the consumer has said of that kind."""
        return [message for message in self.line.said if isinstance(message, kind)]


def welcome(session: str) -> Welcome:
    return Welcome(session, "scan-1", 1, rescan=False, scan_number=1, run_number=1)


def work(session: str, number: int) -> Work:
    return Work(session, number, IMAGE, None, b"x")


def test_a_batch_is_acknowledged_after_it_was_scored_and_asks_for_as_many_again() -> None:
    bench = Bench()
    bench.turn(welcome("one"), work("one", 0), work("one", 1))
    assert bench.said(Done) == []
    bench.thread.run()
    bench.turn()
    assert bench.said(Done) == [Done("one", ((0, Outcome.PREDICTED), (1, Outcome.PREDICTED)), credit=2)]


def test_what_a_newer_run_has_superseded_is_dropped_and_the_consumer_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(SupersededRun("run 1 of scan scan-1 has been superseded by run 2"))
    bench.turn(welcome("one"), work("one", 0), work("one", 1))
    bench.thread.run()
    assert bench.turn(), "it waits for the newer run's welcome"
    assert bench.said(Done) == [Done("one", (), credit=2)]
    assert bench.said(Leave) == []
    assert "superseded by run 2: 2 images are dropped" in caplog.text


def test_an_image_of_a_new_producer_is_not_taken_for_the_one_in_hand_of_the_old() -> None:
    bench = Bench()
    bench.turn(welcome("one"), work("one", 0), work("one", 1))
    bench.turn(Reregister(), welcome("two"), work("two", 0))
    bench.thread.run()
    bench.turn()
    bench.thread.run()
    bench.turn()
    assert [(done.session, done.outcomes[0][0]) for done in bench.said(Done)] == [("one", 0), ("two", 0)]


def test_a_hello_asks_for_the_room_that_is_left() -> None:
    bench = Bench()
    bench.turn(welcome("one"), work("one", 0), work("one", 1), work("one", 2))
    bench.turn(Reregister())
    assert bench.said(Hello)[-1] == Hello(PROTOCOL, "c", credit=1, session="one", holds=(0, 1, 2))
    # What waits of the old producer is dropped for the new one, so there is more room than was asked for.
    bench.turn(welcome("two"))
    assert bench.said(Hello)[-1] == Hello(PROTOCOL, "c", credit=2, session="two", holds=())


def test_work_that_fails_is_handed_back_with_the_reason() -> None:
    bench = Bench(TransientError("MySQL is away"))
    bench.turn(welcome("one"), work("one", 0), work("one", 1), work("one", 2))
    bench.thread.run()
    with pytest.raises(TransientError):
        bench.turn()
    assert bench.line.said[-2:] == [HandBack("one", (0, 1, 2)), Leave("MySQL is away", fatal=False)]


def test_a_producer_that_sends_without_being_asked_ends_it_with_bounded_memory() -> None:
    bench = Bench()
    bench.turn(welcome("one"))
    with pytest.raises(ContractError, match="sends more than it was asked for: 9 images"):
        bench.turn(*(work("one", number) for number in range(1000)))
        while bench.turn():
            bench.thread.run()
    (handed_back,) = bench.said(HandBack)
    assert handed_back.numbers == tuple(range(8))
    assert bench.said(Leave)[-1].fatal


def test_so_does_one_whose_images_are_larger_than_was_agreed() -> None:
    bench = Bench(settings=FleetSettings(batch_size=2, beat_s=20.0, held_bytes=100, max_image_bytes=100))
    bench.turn(welcome("one"), work("one", 0), work("one", 1))
    large = [Work("one", number, IMAGE, None, b"x" * 80) for number in range(2, 6)]
    with pytest.raises(ContractError, match="3 images of 240 bytes wait"):
        bench.turn(*large)
        bench.now += END_GRACE_S
        bench.turn()


def test_room_is_counted_by_what_waits_not_by_what_has_come() -> None:
    bench = Bench()
    bench.turn(welcome("one"))
    for number in range(0, 60, 2):
        bench.turn(work("one", number), work("one", number + 1))
        bench.thread.run()
        bench.turn()
    bench.turn(*(work("one", number) for number in range(60, 68)))
    bench.turn(welcome("two"), *(work("two", number) for number in range(8)))
    assert bench.consumer.done == 60


def test_work_before_a_welcome_is_nobodys() -> None:
    bench = Bench()
    bench.turn(work("", 0))
    bench.turn(Reregister())
    assert bench.said(Hello)[-1].holds == ()


def test_a_refusal_ends_it_after_the_batch_in_hand() -> None:
    bench = Bench()
    bench.turn(welcome("one"), work("one", 0), work("one", 1))
    assert bench.turn(Refused("another protocol"))
    bench.thread.run()
    with pytest.raises(ContractError, match="another protocol"):
        bench.turn()
    assert len(bench.said(Done)) == 1
    assert bench.line.said[-1] == Leave("the producer at memory:// refuses us: another protocol", fatal=True)


def test_the_end_of_the_scan_is_the_end_of_the_loop() -> None:
    bench = Bench()
    assert bench.turn(welcome("one"))
    assert not bench.turn(ScanFinished())
    assert bench.line.said[-1] == Leave()


def test_a_batch_is_told_of_as_soon_as_it_is_decoded() -> None:
    bench = Bench()
    bench.turn(welcome("one"), work("one", 0), work("one", 1), work("one", 2))
    before = len(bench.said(Heartbeat))
    bench.consumer._note_decoded()
    bench.turn()
    bench.turn()
    assert bench.said(Heartbeat)[before:] == [Heartbeat("one", (0, 1, 2), decoded=(0, 1))]


def test_an_error_that_nobody_foresaw_hands_the_batch_back_in_one_line() -> None:
    bench = Bench(KeyError("a column\nof MySQL"))
    bench.turn(welcome("one"), work("one", 0), work("one", 1), work("one", 2))
    bench.thread.run()
    with pytest.raises(TransientError, match=r"^unexpected KeyError \(test_consumer.py:\d+\): .*a column") as raised:
        bench.turn()
    assert "\n" not in str(raised.value)
    assert bench.line.said[-2] == HandBack("one", (0, 1, 2))
    assert isinstance(bench.line.said[-1], Leave)
    assert not bench.line.said[-1].fatal


def test_a_batch_that_hangs_is_handed_back_when_the_end_has_come() -> None:
    bench = Bench()
    bench.turn(welcome("one"), work("one", 0), work("one", 1), work("one", 2))
    bench.consumer.stop()
    assert bench.turn()  # the batch may still be done soon
    bench.now += END_GRACE_S
    assert not bench.turn()
    assert bench.line.said[-2:] == [HandBack("one", (0, 1, 2)), Leave()]


def test_a_batch_that_takes_for_ever_is_handed_back_and_ends_the_consumer() -> None:
    bench = Bench()
    bench.turn(welcome("one"), work("one", 0), work("one", 1))
    for _ in range(int(FleetSettings().work_limit_s)):
        assert bench.turn(Heartbeat("one"))
    with pytest.raises(TransientError, match="one batch has taken more than 480 s"):
        bench.turn(Heartbeat("one"))
    assert bench.line.said[-2] == HandBack("one", (0, 1))


def test_a_consumer_that_was_frozen_does_not_take_the_producer_for_dead() -> None:
    bench = Bench()
    bench.turn(welcome("one"), work("one", 0), work("one", 1))
    bench.now += 3600
    assert bench.turn()
    bench.thread.run()
    assert bench.turn()
    assert len(bench.said(Done)) == 1


def test_a_producer_that_is_heard_no_more_ends_it_with_the_scan_that_it_was_of() -> None:
    bench = Bench()
    bench.turn(welcome("one"))
    with pytest.raises(NoProducer, match="no word from a producer at memory://"):
        for _ in range(100):
            bench.turn()
    assert bench.consumer.scan_id == "scan-1"
    assert bench.line.said[-1] == Leave("no word from a producer at memory:// for 30 s")
