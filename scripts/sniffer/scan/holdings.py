"""An image on its way, and what one consumer holds: the records of the ledger."""

from __future__ import annotations

from dataclasses import dataclass, field

from sniffer.core.records import ListedObject, Unscored

DEATHS_BEFORE_QUARANTINE = 2
"""An image is handed out alone once so many consumers died before they had decoded it."""
DEATHS_BEFORE_FAILURE = 5
"""An image is recorded as failed once so many died before they had decoded it and held nothing else. A consumer may die
of a dozen causes; this many in a row, each within a moment, are the image's doing."""

MAX_OWED = 20_000
"""Answers that one consumer may still owe: far more than an honest one ever does."""


@dataclass(slots=True)
class Entry:
    """One image on its way: when ready, with its encoded bytes or with a verdict that needs none.

    `deaths` counts the consumers that died when they held it and had not said that it is decoded; `lone_deaths` those
    of them that held nothing else.
    """

    number: int
    image: ListedObject
    body: bytes = b""
    verdict: Unscored | None = None
    deaths: int = 0
    lone_deaths: int = 0
    is_decoded: bool = False
    size_bytes: int = 0
    ready_at: float = 0.0
    granted_at: float = 0.0
    grants: int = 0
    """How often it was handed out."""

    @property
    def is_suspect(self) -> bool:
        """Whether it may be what kills consumers, so that it must be handed out alone."""
        return self.deaths >= DEATHS_BEFORE_QUARANTINE and self.verdict is None

    @property
    def is_poison(self) -> bool:
        """Whether it must not be decoded again."""
        return self.lone_deaths >= DEATHS_BEFORE_FAILURE

    def release(self) -> bytes:
        """Its bytes, which are no longer kept here."""
        body, self.body = self.body, b""
        return body


@dataclass(slots=True)
class Holdings:
    """A consumer as the ledger knows it: what it holds, owes and would take. Times as in the ledger."""

    credit: int = 0
    last_heard: float = 0.0
    alive: bool = True
    awaits_hello: bool = False
    """Whether it came back from the dead and has not said hello since."""
    held: dict[int, Entry] = field(default_factory=dict)
    held_bytes: int = 0
    blamed: list[tuple[Entry, bool]] = field(default_factory=list)
    """What it may have died of, and whether it held nothing else."""
    owed: dict[int, None] = field(default_factory=dict)
    """Every image that it was given and has not answered for, also those that went to others meanwhile."""
    answered_at: float = 0.0
    """When it last answered for an image, or was given one while it held none."""

    def take(self, entry: Entry, now: float) -> None:
        """It is given that image."""
        if not self.held:
            self.answered_at = now
        self.held[entry.number] = entry
        self.held_bytes += entry.size_bytes
        self.credit -= 1
        self.owed[entry.number] = None
        if len(self.owed) > MAX_OWED:
            del self.owed[next(iter(self.owed))]

    def drop(self, number: int) -> Entry:
        """It holds that image no more."""
        entry = self.held.pop(number)
        self.held_bytes -= entry.size_bytes
        return entry
