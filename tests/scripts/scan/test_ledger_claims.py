"""The ledger believes a consumer about what it was given, and about nothing else."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime

from sniffer.core.records import ListedObject, Outcome
from sniffer.scan.ledger import Ledger
from sniffer.scan.messages import MAX_HELD


def loaded(images: int) -> Ledger:
    ledger = Ledger(deadline_s=10, held_bytes=1000)
    for number in range(images):
        ledger.add(ListedObject("bkt", f"k{number}", "e", 1, datetime(2026, 11, 20, tzinfo=UTC)))
    fetch(ledger)
    return ledger


def fetch(ledger: Ledger) -> None:
    while (entry := ledger.next_to_fetch()) is not None:
        ledger.fetched(entry.number, b"x")


def grant(ledger: Ledger, now: float = 0.0) -> list[tuple[bytes, int]]:
    grants = []
    while found := ledger.next_grant(now):
        grants.append((found[0], found[1].number))
    return grants


def test_an_acknowledgement_counts_only_from_a_consumer_that_was_given_the_image() -> None:
    ledger = loaded(2)
    ledger.join(b"a", 1, now=0)
    assert grant(ledger) == [(b"a", 0)]
    ledger.join(b"liar", 0, now=0)
    for number in (0, 1, 7):
        assert not ledger.settle(b"liar", number, Outcome.PREDICTED, 1)
        assert not ledger.settle(b"nobody", number, Outcome.PREDICTED, 1)
    assert (ledger.done, ledger.in_flight) == (0, 2)
    assert ledger.settle(b"a", 0, Outcome.PREDICTED, 1)


def test_an_acknowledgement_counts_once_and_cannot_be_taken_back() -> None:
    ledger = loaded(1)
    ledger.join(b"a", 1, now=0)
    grant(ledger)
    assert ledger.settle(b"a", 0, Outcome.FAILED, 1)
    assert not ledger.settle(b"a", 0, Outcome.PREDICTED, 2)
    assert ledger.counts[Outcome.FAILED] == ledger.done == 1


def test_nobody_hands_back_what_another_holds() -> None:
    ledger = loaded(1)
    ledger.join(b"a", 1, now=0)
    grant(ledger)
    ledger.join(b"liar", 1, now=0)
    ledger.hand_back(b"liar", [0])
    ledger.hand_back(b"nobody", [0])
    fetch(ledger)
    assert grant(ledger) == []
    assert ledger.settle(b"a", 0, Outcome.PREDICTED, 1)


def test_what_was_handed_back_is_not_acknowledged_later() -> None:
    ledger = loaded(1)
    ledger.join(b"a", 1, now=0)
    grant(ledger)
    ledger.hand_back(b"a", [0])
    assert not ledger.settle(b"a", 0, Outcome.PREDICTED, 1)
    assert (ledger.done, ledger.in_flight) == (0, 1)


def test_images_that_never_arrived_may_still_be_acknowledged_late() -> None:
    ledger = loaded(1)
    ledger.join(b"a", 1, now=0)
    grant(ledger)
    assert ledger.reconcile(b"a", [], now=11) == 1
    assert ledger.settle(b"a", 0, Outcome.PREDICTED, 12)
    assert (ledger.done, ledger.in_flight) == (1, 0)


def test_a_consumer_that_answers_for_nothing_loses_what_it_holds() -> None:
    ledger = loaded(3)
    ledger.join(b"a", 2, now=0)
    grant(ledger, now=0)
    ledger.settle(b"a", 0, Outcome.PREDICTED, now=50)
    assert ledger.stuck(now=149, limit_s=100) == []
    assert ledger.stuck(now=151, limit_s=100) == [b"a"]
    assert ledger.take_away(b"a") == 1
    fetch(ledger)
    ledger.grant_credit(b"a", 0)
    assert grant(ledger, now=151) == []
    ledger.join(b"b", 5, now=151)
    assert sorted(number for _, number in grant(ledger, now=151)) == [1, 2]
    assert ledger.stuck(now=160, limit_s=100) == []


def test_a_consumer_that_had_nothing_to_do_for_long_is_not_stuck() -> None:
    ledger = loaded(0)
    ledger.join(b"a", 2, now=0)
    ledger.add(ListedObject("bkt", "late", "e", 1, datetime(2026, 11, 20, tzinfo=UTC)))
    fetch(ledger)
    grant(ledger, now=1000)
    assert ledger.stuck(now=1001, limit_s=100) == []


def test_credit_has_an_end() -> None:
    ledger = loaded(0)
    ledger.join(b"a", MAX_HELD, now=0)
    for _ in range(100):
        ledger.grant_credit(b"a", MAX_HELD)
    assert ledger.open_credit == MAX_HELD


def test_the_longest_dead_consumers_are_forgotten_for_new_ones() -> None:
    ledger = loaded(0)
    for number in range(5):
        ledger.join(b"%d" % number, 1, now=number)
    assert not ledger.make_room(5)
    for name in (b"3", b"1"):
        ledger.mark_dead_and_requeue(name, blames=True)
    assert ledger.make_room(5)
    assert [ledger.knows(b"%d" % number) for number in range(5)] == [True, False, True, True, True]


def test_millions_of_images_that_nobody_can_read_take_no_memory() -> None:
    ledger = Ledger(deadline_s=10, held_bytes=1000)
    ledger.join(b"a", 1, now=0)

    def settle(count: int) -> None:
        for _ in range(count):
            ledger.add(ListedObject("bkt", "k", "e", 1, datetime(2026, 11, 20, tzinfo=UTC)))
            fetch(ledger)
            (_, number), *_ = grant(ledger)
            assert ledger.settle(b"a", number, Outcome.INACCESSIBLE, 1)
            ledger.grant_credit(b"a", 1)

    settle(1000)
    tracemalloc.start()
    settle(5000)
    kept_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert ledger.counts[Outcome.INACCESSIBLE] == 6000
    assert kept_bytes < 50_000
