"""The ledger: who holds which image, what has expired, what is done. Pure: no sockets, no clock of its own.

An image is waiting, then ready (its bytes are here), then held by one consumer, and leaves only when a consumer has
committed its row and acknowledged it. Times are seconds on any monotonic clock, passed in.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

from sniffer.core.records import GIVEN_UP, ListedObject, ListingDigest, Outcome, Unscored
from sniffer.scan.holdings import Entry, Holdings
from sniffer.scan.messages import MAX_HELD


class Ledger:
    """Accounts for every image between listing and acknowledgement; memory is that of the images in flight.

    `deadline_s`: a consumer not heard of for so long is taken for dead and its images go to others.
    `held_bytes`: encoded bytes one consumer may hold; a larger image goes to a consumer that holds nothing.
    """

    def __init__(self, *, deadline_s: float, held_bytes: int) -> None:
        self._deadline_s = deadline_s
        self._held_bytes = held_bytes
        self._next_number = 0
        self._waiting: deque[Entry] = deque()
        self._suspects: deque[Entry] = deque()
        self._fetching: dict[int, Entry] = {}
        self._ready: deque[Entry] = deque()
        self._consumers: dict[bytes, Holdings] = {}
        self._holder: dict[int, bytes] = {}
        self._given_up: dict[int, tuple[Outcome, bytes]] = {}
        self.counts: Counter[Outcome] = Counter()
        self.corrected: Counter[Outcome] = Counter()
        """Of images that count otherwise now: how they had counted."""
        self.digests = {outcome: ListingDigest() for outcome in Outcome}
        self._on_hand_bytes = 0

    # ---- what the producer knows ----------------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """Images that are listed and have no outcome yet."""
        return self.to_fetch + self.on_hand + len(self._holder)

    @property
    def done(self) -> int:
        """Images with an outcome."""
        return self.counts.total()

    @property
    def to_fetch(self) -> int:
        """Images whose bytes nobody has asked for yet."""
        return len(self._waiting) + len(self._suspects)

    @property
    def on_hand(self) -> int:
        """Images being fetched or ready to be handed out."""
        return len(self._fetching) + len(self._ready)

    @property
    def on_hand_bytes(self) -> int:
        """Encoded bytes of those, as listed: what fetching them takes or will take."""
        return self._on_hand_bytes

    @property
    def open_credit(self) -> int:
        """Images that the living consumers would take now."""
        return sum(max(0, consumer.credit) for consumer in self._consumers.values() if consumer.alive)

    @property
    def alive(self) -> list[bytes]:
        """The consumers that are taken for alive."""
        return [name for name, consumer in self._consumers.items() if consumer.alive]

    @property
    def suspects(self) -> list[int]:
        """The images, by number, that wait for the end of the scan since consumers died with them."""
        return [entry.number for entry in self._suspects]

    # ---- from the listing to the hand-out -------------------------------------------------------------------

    def add(self, image: ListedObject) -> None:
        """Take in a listed image that needs an outcome."""
        self._waiting.append(Entry(self._next_number, image))
        self._next_number += 1

    def next_to_fetch(self) -> Entry | None:
        """The next image whose bytes are needed, now being fetched; None when none waits. Suspects come last."""
        if not self.to_fetch:
            return None
        entry = (self._waiting or self._suspects).popleft()
        self._fetching[entry.number] = entry
        self._on_hand_bytes += entry.image.size_bytes
        return entry

    def fetched(self, number: int, content: bytes | Unscored, now: float = 0.0) -> None:
        """The image can be handed out: with its bytes, or with the verdict that there is nothing to decode."""
        entry = self._fetching.pop(number, None)
        if entry is None:
            return  # acknowledged meanwhile by a consumer that had been taken for dead
        # A second fetch may find what the first did not, and the other way round.
        if isinstance(content, Unscored):
            entry.verdict, entry.size_bytes = content, 0
        else:
            entry.verdict, entry.body, entry.size_bytes = None, content, len(content)
        entry.ready_at = now
        self._ready.append(entry)

    def next_grant(self, now: float) -> tuple[bytes, Entry] | None:
        """Give the next ready image to the living consumer that holds least; None when nobody can take it.

        The caller takes the bytes out with `Entry.release()`: the ledger keeps none of what is held, and an image
        that comes back is fetched again. A suspect goes only when nothing else is ready, and only to a consumer that
        holds nothing; that consumer gets nothing beside it.
        """
        # Suspects last: while a consumer is emptied for one, the others would have less to do.
        entry = next((ready for ready in self._ready if not ready.is_suspect), None) or next(iter(self._ready), None)
        name = self._taker(entry) if entry is not None else None
        if entry is None or name is None:
            return None
        self._ready.remove(entry)
        self._on_hand_bytes -= entry.image.size_bytes
        entry.granted_at, entry.is_decoded = now, False
        entry.grants += 1
        self._consumers[name].take(entry, now)
        self._holder[entry.number] = name
        return name, entry

    def _taker(self, entry: Entry) -> bytes | None:
        fits = [name for name in self._consumers if self._can_take(name, entry)]
        return min(fits, key=lambda name: len(self._consumers[name].held), default=None)

    def _can_take(self, name: bytes, entry: Entry) -> bool:
        consumer = self._consumers[name]
        if not consumer.alive or consumer.credit <= 0:
            return False
        if entry.is_suspect or not consumer.held:
            return not consumer.held
        if any(held.is_suspect for held in consumer.held.values()):
            return False
        return consumer.held_bytes + entry.size_bytes <= self._held_bytes

    # ---- from the consumers ---------------------------------------------------------------------------------

    def knows(self, name: bytes) -> bool:
        """Whether that consumer has joined, and not left; it may be dead."""
        return name in self._consumers

    def last_heard(self, name: bytes) -> float:
        """When that consumer last spoke."""
        return self._consumers[name].last_heard

    def make_room(self, consumers: int) -> bool:
        """Whether one more would be at most so many consumers; the longest dead ones are forgotten for it."""
        dead = sorted((consumer.last_heard, name) for name, consumer in self._consumers.items() if not consumer.alive)
        for _, name in dead[: max(0, len(self._consumers) + 1 - consumers)]:
            del self._consumers[name]
        return len(self._consumers) < consumers

    def join(self, name: bytes, credit: int, now: float, holds: Iterable[int] = ()) -> None:
        """That consumer says hello: it would take `credit` images beside those it holds.

        What it was given and does not hold yet is under way, and takes of the credit.
        """
        consumer = self._consumers.setdefault(name, Holdings())
        self._revive(consumer, now)
        consumer.awaits_hello = False
        under_way = consumer.held.keys() - set(holds)
        consumer.credit = credit - len(under_way)

    def mark_alive(self, name: bytes, now: float) -> bool:
        """A message from a known consumer arrived; returns whether it is back from the dead.

        Then nobody knows what of its credit is left: it gets nothing before it says hello again.
        """
        consumer = self._consumers[name]
        was_dead = not consumer.alive
        self._revive(consumer, now)
        if was_dead:
            consumer.credit, consumer.awaits_hello = 0, True
        return was_dead

    def awaits_hello(self, name: bytes) -> bool:
        """Whether that consumer is back from the dead and has not said hello since."""
        return self._consumers[name].awaits_hello

    @staticmethod
    def _revive(consumer: Holdings, now: float) -> None:
        consumer.alive, consumer.last_heard = True, now
        for entry, was_alone in consumer.blamed:
            entry.deaths -= 1
            entry.lone_deaths -= was_alone
        consumer.blamed = []

    def grant_credit(self, name: bytes, images: int) -> None:
        """That consumer will take so many more images, but never more than MAX_HELD in all."""
        consumer = self._consumers[name]
        consumer.credit = min(consumer.credit + images, MAX_HELD)

    def settle(self, name: bytes, number: int, outcome: Outcome, now: float) -> bool:
        """That consumer says that the image's row is committed. Returns whether this was news.

        It is believed about what it was given and has not answered for yet, also when that went to others since. An
        image that was given up as failed or gone, and then turned out to have been scored after all, counts as scored.
        """
        consumer = self._consumers.get(name)
        if consumer is None or number not in consumer.owed:
            return False
        del consumer.owed[number]
        consumer.answered_at = now
        entry = self._remove(number)
        if entry is not None:
            self._count(outcome, entry.image.identity, 1)
            # Another answer can only come from somebody else who had it: of millions that nobody can read none is kept.
            if outcome in GIVEN_UP and entry.grants > 1:
                self._given_up[number] = outcome, entry.image.identity
            return True
        if number in self._given_up and outcome not in GIVEN_UP:
            before, identity = self._given_up.pop(number)
            self._count(before, identity, -1)
            self.corrected[before] += 1
            self._count(outcome, identity, 1)
            return True
        return False

    def _count(self, outcome: Outcome, identity: bytes, times: int) -> None:
        self.counts[outcome] += times
        self.digests[outcome].add([identity], times)

    def hand_back(self, name: bytes, numbers: Iterable[int]) -> None:
        """That consumer returns images untouched: they go first to whoever asks next."""
        consumer = self._consumers.get(name)
        if consumer is None:
            return
        for number in numbers:
            consumer.owed.pop(number, None)
            if self._holder.get(number) == name:
                self._return(name, number)

    def reconcile(self, name: bytes, holds: Iterable[int], now: float) -> int:
        """That consumer says what it holds. What it should hold and does not was lost on the way, with a connection.

        Such images go to others and blame nobody, and the credit they took is given back; returns how many there
        were. Younger grants than the deadline may still be travelling.
        """
        consumer = self._consumers[name]
        there = set(holds)
        lost = [
            entry.number
            for entry in consumer.held.values()
            if entry.number not in there and now - entry.granted_at > self._deadline_s
        ]
        for number in lost:
            self._return(name, number)
        consumer.credit += len(lost)
        return len(lost)

    def stuck(self, now: float, limit_s: float) -> list[bytes]:
        """Living consumers that hold images and have answered for none of them for longer than the limit."""
        return [
            name
            for name, consumer in self._consumers.items()
            if consumer.alive and consumer.held and now - consumer.answered_at > limit_s
        ]

    def take_away(self, name: bytes) -> int:
        """What that consumer holds goes to others, and it gets no more before it says hello again; returns how many."""
        consumer = self._consumers[name]
        numbers = list(consumer.held)
        for number in numbers:
            self._return(name, number)
        consumer.credit = 0
        return len(numbers)

    def leave(self, name: bytes) -> None:
        """That consumer ended in good order; whatever it still held goes to others, and counts against no image."""
        if name in self._consumers:
            self.hand_back(name, list(self._consumers[name].held))
            del self._consumers[name]

    def mark_decoded(self, name: bytes, numbers: Iterable[int]) -> None:
        """That consumer says that these images are decoded: whatever ends it from now on, they do not."""
        held = self._consumers[name].held
        for number in numbers:
            if number in held:
                held[number].is_decoded = True

    def mark_dead_and_requeue(self, name: bytes, *, blames: bool) -> list[Entry]:
        """That consumer died: its images go to others; returns them.

        It stays known, since a consumer that was only stopped may come back and acknowledge what it holds. Without
        `blames` nobody knows whether it died at all. With it, an image that it had not decoded may be the cause: it
        waits until all others are handed out. When the consumer comes back, it was not the cause.
        """
        consumer = self._consumers.get(name)
        if consumer is None:
            return []
        consumer.alive = False
        # What carries a verdict is not decoded, so it kills nobody.
        held = list(consumer.held.values())
        blamed = [entry for entry in held if blames and entry.verdict is None and not entry.is_decoded]
        for entry in blamed:
            entry.deaths += 1
            entry.lone_deaths += len(held) == 1
        consumer.blamed += [(entry, len(held) == 1) for entry in blamed]
        return [self._return(name, entry.number) for entry in held]

    def excuse_silence(self, since: float, now: float) -> None:
        """Nobody was listened to since then: silence is counted anew, and so is the time for an answer."""
        for consumer in self._consumers.values():
            consumer.last_heard = now
            consumer.answered_at += now - since
            for entry in consumer.held.values():
                entry.granted_at += now - since

    def expired(self, now: float) -> list[bytes]:
        """Consumers that have not been heard of for longer than the deadline."""
        return [
            name
            for name, consumer in self._consumers.items()
            if consumer.alive and now - consumer.last_heard > self._deadline_s
        ]

    def _return(self, name: bytes, number: int) -> Entry:
        entry = self._consumers[name].drop(number)
        del self._holder[number]
        if entry.deaths:
            self._suspects.append(entry)
        else:
            self._waiting.appendleft(entry)
        return entry

    def _remove(self, number: int) -> Entry | None:
        """Take the image out, wherever it is: an acknowledgement may come late, from a dead consumer."""
        holder = self._holder.pop(number, None)
        if holder is not None:
            return self._consumers[holder].drop(number)
        for queue in (self._waiting, self._suspects):
            entry = next((entry for entry in queue if entry.number == number), None)
            if entry is not None:
                queue.remove(entry)
                return entry
        entry = self._fetching.pop(number, None) or next((e for e in self._ready if e.number == number), None)
        if entry is not None:
            self._on_hand_bytes -= entry.image.size_bytes
            if entry in self._ready:
                self._ready.remove(entry)
        return entry
