"""A consumer that was taken for dead and is back is asked to say hello until it does, whatever gets lost on the way."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sniffer.core.settings import FleetSettings
from sniffer.scan.dispatch import Dispatcher
from sniffer.scan.messages import PROTOCOL, FromConsumer, FromProducer, Heartbeat, Hello, Reregister, Welcome

JOB = Welcome("session", "scan", 1, rescan=False, scan_number=1, run_number=1)


class EndOfStory(Exception):
    """Nothing more is told."""


class Story:
    """A channel and a clock: at each wait so many seconds pass, and then a message comes."""

    endpoint = "story"

    def __init__(self, *events: tuple[float, FromConsumer | None]) -> None:
        self._events = iter(events)
        self._arrived: list[tuple[bytes, FromConsumer]] = []
        self.now = 1000.0
        self.sent: list[FromProducer] = []

    def clock(self) -> float:
        return self.now

    def wait(self, _: float) -> None:
        event = next(self._events, None)
        if event is None:
            raise EndOfStory
        self.now += event[0]
        self._arrived = [(b"c", event[1])] if event[1] else []

    def receive(self) -> Iterable[tuple[bytes, FromConsumer]]:
        arrived, self._arrived = self._arrived, []
        return arrived

    def send(self, _: bytes, message: FromProducer) -> None:
        if not isinstance(message, Heartbeat):
            self.sent.append(message)

    def wake(self) -> None:
        pass


class Rest:
    """All other parts of a scan, which has nothing to list yet."""

    finished = False
    listed = seen = decided = 0

    @property
    def tally(self) -> Rest:
        return self

    def take(self) -> None:
        return None

    def __getattr__(self, _: str) -> Any:
        return lambda *_: None


def test_a_hello_is_asked_for_until_it_comes() -> None:
    beat = Heartbeat("session")
    hello = Hello(PROTOCOL, "c", 4)
    silence = [(1.0, None)] * 4
    story = Story((0.1, hello), *silence, (0.1, beat), (0.1, beat), (0.1, hello), (0.1, beat))
    rest: Any = Rest()
    settings = FleetSettings(beat_s=2.0, consumer_deadline_s=3.0)
    with ThreadPoolExecutor(1) as fetchers:
        dispatcher = Dispatcher(
            story, rest, lambda _: b"", fetchers, settings, rest, story.clock, lambda: None, rest, rest
        )
        with pytest.raises(EndOfStory):
            dispatcher.run(JOB)
    assert story.sent == [JOB, Reregister(), Reregister(), JOB]
    assert dispatcher.ledger.open_credit == 4
