"""What the producer remembers and logs of its peers: bounded in memory and in lines, whatever they do."""

from __future__ import annotations

import logging
from collections import OrderedDict, deque

from sniffer.core.text import printable
from sniffer.scan.channel import Clock

MAX_CONSUMERS = 1000
"""Consumers of one producer."""
REMEMBERED = 1000
"""Refused peers that are remembered; of so many at once a person needs no list."""
ANSWER_AGAIN_S = 5.0
"""A refused peer is told so again at most this often."""
LINES_A_MINUTE = 120
"""Log lines about peers; what is more is counted."""
_MINUTE_S = 60.0


class PeerLog:
    """Logs what peers do, at most LINES_A_MINUTE."""

    def __init__(self, log: logging.Logger, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._lines: deque[float] = deque()
        self._left_out = 0

    def say(self, level: int, text: str, *values: object) -> None:
        """Log that, unless peers have filled this minute."""
        now = self._clock()
        while self._lines and now - self._lines[0] >= _MINUTE_S:
            self._lines.popleft()
        if len(self._lines) >= LINES_A_MINUTE:
            self._left_out += 1
            return
        if self._left_out:
            self._log.warning("%d more lines about consumers were left out", self._left_out)
            self._left_out = 0
        self._lines.append(now)
        self._log.log(level, text, *values)


class RefusedPeers:
    """The peers that were refused, the latest REMEMBERED of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._answered_at: OrderedDict[bytes, float] = OrderedDict()

    def is_new(self, name: bytes) -> bool:
        """Whether nothing is remembered of that peer yet."""
        return name not in self._answered_at

    def may_answer(self, name: bytes) -> bool:
        """Whether to tell that peer (again) that it is refused; remembers that it was told."""
        now = self._clock()
        if now - self._answered_at.get(name, -ANSWER_AGAIN_S) < ANSWER_AGAIN_S:
            return False
        self._answered_at[name] = now
        self._answered_at.move_to_end(name)
        if len(self._answered_at) > REMEMBERED:
            self._answered_at.popitem(last=False)
        return True


def shown(name: bytes) -> str:
    """A consumer's name for people. A name that ZeroMQ gave, or a liar, is not text."""
    return printable(name.decode(errors="backslashreplace"))[:80]
