"""Peers that are no consumers of this release: those of another one, and those that lie."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from simulation.clockwork import Process
from simulation.network import ConsumerEnd
from sniffer.core.records import Outcome
from sniffer.scan.messages import PROTOCOL, Done, HandBack, Heartbeat, Hello, Leave, ScanFinished, Welcome, Work

if TYPE_CHECKING:
    from simulation.history import History

LIAR = b"liar"
"""Begins the names of those that lie."""
_NUMBERS = tuple(range(40))
"""What a liar claims to hold and to have done: more images than there are."""


def visit(history: History, process: Process, protocol: int) -> None:
    """A consumer of another release: says hello, beats, and ends with a fatal goodbye once it is refused."""
    channel = ConsumerEnd(history.network, process, process.name.encode())
    # Only its protocol is wrong.
    header = b'{"protocol": %d, "name": "stranger", "credit": 4, "max_image_bytes": %d, "since": "another release"}'
    header %= protocol, history.settings.max_image_bytes
    channel.send_frames([b"Hello", header])
    for _ in range(20):
        channel.wait(0.25)
        answers = list(channel.receive())
        if any(isinstance(answer, Welcome | Work) for answer in answers):
            history.violation = "a peer of another release was welcomed"
        if answers:
            break
        channel.send_frames([b"Beat", b"{}"])
    channel.send_frames([b"Bye" if protocol == 1 else b"Leave", b'{"error": "refused", "fatal": true}'])
    channel.close()
    process.kill()


def lie(history: History, process: Process, until: float) -> None:
    """A peer that speaks our protocol and means ill: it does no work, and claims that it and others did.

    Some take images and do nothing, others boast of images that they were not given. None acknowledges what it was
    given: whether such a row is stored only the certificate can tell.
    """
    rng = random.Random(process.name)
    channel = ConsumerEnd(history.network, process, process.name.encode())
    session, credit = "", rng.choice((0, 0, 2, 4096))
    channel.send(Hello(PROTOCOL, "liar", credit))
    while history.clockwork.now < until and not history.is_over:
        channel.wait(0.1)
        for answer in channel.receive():
            session = answer.session if isinstance(answer, Welcome) else session
            if isinstance(answer, ScanFinished):
                until = 0.0
        match rng.randrange(7):
            case 0 | 1 if not credit:
                channel.send(Done(session, tuple((n, rng.choice(list(Outcome))) for n in _NUMBERS), 0))
            case 2:
                channel.send(HandBack(session, _NUMBERS))
            case 3:
                channel.send(Heartbeat(session, _NUMBERS))
            case 4:
                channel.send(Hello(PROTOCOL, "liar", credit, session, _NUMBERS))
            case 5:
                channel.send_frames([b"Done", rng.randbytes(20)])
            case _:
                channel.send(Leave("everything is wrong", fatal=True))
    channel.send(Leave("everything is wrong", fatal=True))
    channel.close()
    process.kill()
