"""What one history is made of: a small bucket, a fleet, and the faults that strike it. All follows from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """What can go wrong, in the words of the story."""

    KILL_CONSUMER = "a consumer is killed"
    STOP_CONSUMER = "a consumer is stopped, and continued"
    KILL_DECODER = "a consumer's decoder is killed"
    END_CONSUMER = "a consumer is told to end (SIGTERM)"
    KILL_PRODUCER = "the producer is killed; the scan is run again"
    STOP_PRODUCER = "the producer is stopped, and continued"
    END_PRODUCER = "the producer is told to end (SIGTERM); the scan is run again"
    CUT = "a connection breaks"
    CUT_UNNOTICED = "a connection breaks, and the producer does not notice"
    CUT_LINGERING = "a connection breaks and is replaced while the old one still speaks"
    SLOW_NETWORK = "the network is slow"
    DUPLICATES = "messages arrive twice"
    OLD_RELEASE = "a consumer of an older release comes"
    NEW_RELEASE = "a consumer of a newer release comes"
    LIAR = "a peer joins that lies about what it has done, holds and knows"
    S3_AWAY = "S3 is away"
    S3_SLOW = "S3 is slow"
    DELETE = "an object is deleted"
    REPLACE = "an object is replaced"
    DENY = "an object may not be read"
    DENY_ALL = "no object may be read"
    SERVING_AWAY = "the model server is away"
    SERVING_SLOW = "the model server is slow"
    DATABASE_AWAY = "MySQL is away"
    TORN = "a commit is torn"
    UNANSWERED = "the answer to a commit is lost"
    DEADLOCK = "a transaction loses a deadlock"
    LOST = "a commit is lost in a fail-over"
    SECOND_RUN = "the scan is started a second time while it runs"
    OTHER_SCAN = "another scan stores an image first"


_LASTING = {
    FaultKind.STOP_CONSUMER: (0.2, 6.0),
    FaultKind.STOP_PRODUCER: (0.2, 6.0),
    FaultKind.SLOW_NETWORK: (0.3, 2.0),
    FaultKind.DUPLICATES: (0.5, 2.0),
    FaultKind.LIAR: (0.2, 4.0),
    FaultKind.S3_AWAY: (0.2, 5.0),
    FaultKind.S3_SLOW: (0.5, 2.0),
    FaultKind.DENY_ALL: (0.5, 4.0),
    FaultKind.SERVING_AWAY: (0.2, 5.0),
    FaultKind.SERVING_SLOW: (0.5, 3.0),
    FaultKind.DATABASE_AWAY: (0.2, 5.0),
}


_MISFORTUNES = (
    (FaultKind.STOP_CONSUMER, FaultKind.DENY_ALL, FaultKind.SERVING_SLOW),
    (FaultKind.STOP_CONSUMER, FaultKind.DELETE, FaultKind.DELETE, FaultKind.DELETE, FaultKind.SERVING_SLOW),
    (FaultKind.SLOW_NETWORK, FaultKind.CUT),
    (FaultKind.SLOW_NETWORK, FaultKind.CUT_UNNOTICED, FaultKind.STOP_CONSUMER),
    (FaultKind.SLOW_NETWORK, FaultKind.CUT_LINGERING),
    (FaultKind.DENY_ALL, FaultKind.KILL_CONSUMER, FaultKind.KILL_CONSUMER),
    (FaultKind.KILL_PRODUCER, FaultKind.STOP_CONSUMER, FaultKind.SERVING_SLOW),
    (FaultKind.KILL_PRODUCER, FaultKind.SLOW_NETWORK, FaultKind.CUT),
    (FaultKind.UNANSWERED, FaultKind.KILL_CONSUMER, FaultKind.CUT),
    (FaultKind.STOP_PRODUCER, FaultKind.SECOND_RUN, FaultKind.SERVING_SLOW),
    (FaultKind.STOP_CONSUMER, FaultKind.KILL_PRODUCER, FaultKind.SECOND_RUN),
    (FaultKind.KILL_CONSUMER, FaultKind.SLOW_NETWORK, FaultKind.CUT, FaultKind.CUT),
    (FaultKind.KILL_CONSUMER,) * 12,
)
"""Faults that are worse together than apart."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Strikes at that second, for so long; `target` says which consumer or object, modulo their number."""

    at_s: float
    kind: FaultKind
    target: int = 0
    lasts_s: float = 0.0

    @property
    def ends_at(self) -> float:
        """When it is over."""
        return self.at_s + self.lasts_s


@dataclass(frozen=True, slots=True)
class Plan:
    """One history to be. `bodies` are the objects' bytes in the order of their keys.

    `stored` are the objects that an earlier scan has settled, `failed_before` those that it failed. A consumer comes
    at each second of `arrivals`. `rng_seed` decides the order of everything that the plan does not say.
    """

    rng_seed: int
    bodies: tuple[bytes, ...]
    stored: frozenset[int] = frozenset()
    failed_before: frozenset[int] = frozenset()
    arrivals: tuple[float, ...] = (0.0,)
    faults: tuple[Fault, ...] = ()
    batch_size: int = 2
    fetch_threads: int = 2
    page_size: int = 4
    held_bytes: int = 1 << 20
    error_budget: float = 1.0
    rescan: bool = False
    retry_failed: bool = False
    limit: int | None = None

    @property
    def quiet_from(self) -> float:
        """From when on nothing goes wrong any more, and everyone who is to come is there."""
        return max((0.0, *self.arrivals, *(fault.ends_at for fault in self.faults)))


def plan_of(seed: int) -> Plan:
    """The history of that seed."""
    rng = random.Random(seed)
    count = rng.choice((0, 1, 2, 4, 6, 8, 10, 12, 16, 20))
    bodies = tuple(_body(rng) for _ in range(count))
    stored = frozenset(i for i in range(count) if rng.random() < 0.15)
    mode = rng.random()
    if count == 1 and mode > 0.8:
        bodies = (b"LETHAL",)  # seldom by chance, and nothing else is in the way
    return Plan(
        rng_seed=seed,
        bodies=bodies,
        stored=stored,
        failed_before=frozenset(i for i in range(count) if i not in stored and rng.random() < 0.1),
        arrivals=tuple(rng.choice((0.0, 0.0, rng.uniform(0, 1.5))) for _ in range(rng.choice((1, 2, 2, 3)))),
        faults=_faults(rng, span_s=0.8 + 0.2 * count),
        batch_size=rng.choice((1, 2, 2, 3, 4, 6)),
        fetch_threads=rng.choice((1, 2, 3)),
        page_size=rng.choice((1, 2, 3, 5, 20)),
        held_bytes=rng.choice((10, 30, 1 << 20)),
        error_budget=rng.choice((0.01, 0.3, 1.0)),
        rescan=mode < 0.15,
        retry_failed=0.15 <= mode < 0.2,
        limit=rng.randrange(1, 8) if 0.2 <= mode < 0.25 else None,
    )


def _body(rng: random.Random) -> bytes:
    kind = rng.random()
    if kind < 0.03:
        return b"POISON %d" % rng.randrange(100)
    if kind < 0.04:
        return b"LETHAL %d" % rng.randrange(100)
    if kind < 0.1:
        return b"BROKEN %d" % rng.randrange(100)
    # Few distinct ones, so that some bytes lie under two keys.
    return b"image %d" % rng.randrange(30) + b"." * rng.randrange(20)


def _faults(rng: random.Random, span_s: float) -> tuple[Fault, ...]:
    """Faults spread over about as long as the scan takes: of few kinds, or the parts of one misfortune at a time."""
    if rng.random() < 0.3:
        kinds = list(rng.choice(_MISFORTUNES)) * rng.choice((1, 1, 2))
        start_s = rng.uniform(0, span_s)
        times = [start_s + rng.uniform(0, 0.9) for _ in kinds]
    else:
        few = rng.sample(list(FaultKind), 4)
        kinds = [rng.choice(few) for _ in range(rng.choice((0, 1, 2, 2, 3, 4, 6, 8)))]
        times = [rng.uniform(0, span_s) for _ in kinds]
    faults = [_fault(rng, kind, at_s) for kind, at_s in zip(kinds, times, strict=True)]
    return tuple(sorted(faults, key=lambda fault: fault.at_s))


def _fault(rng: random.Random, kind: FaultKind, at_s: float) -> Fault:
    low, high = _LASTING.get(kind, (0.0, 0.0))
    return Fault(round(at_s, 3), kind, rng.randrange(20), round(rng.uniform(low, high), 3))
