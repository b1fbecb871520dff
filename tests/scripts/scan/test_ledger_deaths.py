"""Whom the ledger blames when consumers die: an image that was not decoded yet, and nothing by coincidence."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from sniffer.core.records import ListedObject, Outcome, Unscored
from sniffer.scan.holdings import DEATHS_BEFORE_FAILURE, DEATHS_BEFORE_QUARANTINE, Entry
from sniffer.scan.ledger import Ledger

WHEN = datetime(2026, 11, 20, tzinfo=UTC)


def loaded(count: int) -> Ledger:
    ledger = Ledger(deadline_s=10, held_bytes=1000)
    for number in range(count):
        ledger.add(ListedObject("bkt", str(number), "etag", 10, WHEN))
    return ledger


def fetch_all(ledger: Ledger) -> None:
    while entry := ledger.next_to_fetch():
        ledger.fetched(entry.number, b"x" * 10)


def give(ledger: Ledger, name: bytes, credit: int = 10, now: float = 0.0) -> list[Entry]:
    """What a new consumer with so much credit gets."""
    ledger.join(name, credit, now)
    fetch_all(ledger)
    given = []
    while grant := ledger.next_grant(now):
        assert grant[0] == name
        grant[1].release()
        given.append(grant[1])
    return given


def die(ledger: Ledger, name: bytes) -> None:
    ledger.mark_dead_and_requeue(name, blames=True)


def test_one_image_after_the_other_is_cleared_and_the_one_that_kills_is_found() -> None:
    """Image 3 ends whoever decodes it."""
    ledger, deaths = loaded(8), 0
    while ledger.in_flight and deaths < 100:
        name = b"consumer %d" % deaths
        given = give(ledger, name, credit=4)
        poison = next((entry for entry in given if entry.number == 3), None)
        if poison is None:
            for entry in given:
                assert ledger.settle(name, entry.number, Outcome.PREDICTED, 0)
            ledger.leave(name)
            continue
        if poison.is_poison:
            break
        die(ledger, name)
        deaths += 1
    assert deaths == DEATHS_BEFORE_QUARANTINE + DEATHS_BEFORE_FAILURE
    assert ledger.done == 7


def test_an_image_is_not_blamed_for_a_death_after_it_was_decoded() -> None:
    ledger = loaded(1)
    for number in range(10):
        name = b"consumer %d" % number
        (entry,) = give(ledger, name)
        ledger.mark_decoded(name, [entry.number])
        die(ledger, name)
    assert (entry.deaths, entry.lone_deaths) == (0, 0)


def test_another_consumer_has_to_decode_it_again() -> None:
    ledger = loaded(1)
    (entry,) = give(ledger, b"a")
    ledger.mark_decoded(b"a", [entry.number])
    ledger.leave(b"a")
    give(ledger, b"b")
    die(ledger, b"b")
    assert (entry.deaths, entry.lone_deaths) == (1, 1)


def test_nobody_clears_what_others_hold() -> None:
    ledger = loaded(1)
    (entry,) = give(ledger, b"a")
    give(ledger, b"b")
    ledger.mark_decoded(b"b", [entry.number])
    assert not entry.is_decoded


def test_company_is_suspected_and_never_failed_for_it() -> None:
    ledger = loaded(2)
    for number in range(DEATHS_BEFORE_QUARANTINE):
        given = give(ledger, b"consumer %d" % number)
        assert len(given) == 2
        die(ledger, b"consumer %d" % number)
    assert all(entry.is_suspect and entry.lone_deaths == 0 for entry in given)
    assert len(give(ledger, b"last")) == 1


def test_a_suspect_gets_no_company_that_would_hide_what_it_does() -> None:
    ledger = loaded(1)
    for name in (b"a", b"b"):
        give(ledger, name)
        die(ledger, name)
    (suspect,) = give(ledger, b"c")
    ledger.add(ListedObject("bkt", "other", "etag", 10, WHEN))
    fetch_all(ledger)
    assert ledger.next_grant(0) is None
    die(ledger, b"c")
    assert suspect.lone_deaths == 3


def test_silence_and_freezing_blame_nobody() -> None:
    ledger = loaded(1)
    for number in range(10):
        name = b"consumer %d" % number
        (entry,) = give(ledger, name)
        ledger.mark_dead_and_requeue(name, blames=False)
    assert (entry.deaths, entry.is_suspect, entry.is_poison) == (0, False, False)


def test_a_consumer_that_comes_back_takes_its_deaths_back() -> None:
    ledger = loaded(1)
    (entry,) = give(ledger, b"a")
    die(ledger, b"a")
    assert (entry.deaths, entry.lone_deaths) == (1, 1)
    assert ledger.mark_alive(b"a", now=1)
    assert (entry.deaths, entry.lone_deaths) == (0, 0)


def test_a_verdict_is_not_decoded_and_kills_nobody() -> None:
    ledger = loaded(1)
    for name in (b"a", b"b", b"c"):
        entry = ledger.next_to_fetch()
        assert entry is not None
        ledger.fetched(entry.number, Unscored(Outcome.GONE, "deleted", "it is gone"))
        give(ledger, name)
        die(ledger, name)
        assert entry.deaths == 0


def test_suspects_go_last() -> None:
    ledger = loaded(1)
    for name in (b"a", b"b"):
        give(ledger, name)
        die(ledger, name)
    for number in range(20):
        ledger.add(ListedObject("bkt", f"other {number}", "etag", 10, WHEN))
    ledger.join(b"c", 3, 0)
    order = []
    while ledger.in_flight:
        fetch_all(ledger)
        grant = ledger.next_grant(0)
        if grant is None:
            break
        order.append(grant[1].number)
        ledger.settle(b"c", grant[1].number, Outcome.PREDICTED, 0)
        ledger.grant_credit(b"c", 1)
    assert order == [*range(1, 21), 0]


def test_who_was_frozen_begins_to_listen_anew() -> None:
    ledger = loaded(1)
    give(ledger, b"a", now=0)
    assert ledger.expired(now=100) == [b"a"]
    ledger.excuse_silence(since=1, now=100)
    assert ledger.expired(now=109) == []
    assert ledger.stuck(now=109, limit_s=15) == []
    assert ledger.reconcile(b"a", [], now=109) == 0
    assert ledger.expired(now=111) == [b"a"]


@pytest.mark.slow
def test_five_hundred_random_kills_fail_no_good_image() -> None:
    """A consumer dies after five batches or so, now while it decodes and now while it stores."""
    for seed in range(20):
        rng, ledger, count = random.Random(seed), loaded(300), 300
        kills, now = 0, 0.0
        while kills < 500:
            name = b"%d" % kills
            for _ in range(rng.randrange(1, 12)):
                given = give(ledger, name, credit=rng.randrange(1, 9), now=now)
                if rng.random() < 0.06:  # dies while it decodes
                    break
                ledger.mark_decoded(name, [entry.number for entry in given])
                if rng.random() < 0.06:
                    break
                for entry in given:
                    assert not entry.is_poison
                    ledger.settle(name, entry.number, Outcome.PREDICTED, now)
            ledger.mark_dead_and_requeue(name, blames=True)
            kills += 1
            ledger.make_room(3)
            if not ledger.in_flight:
                for _ in range(100):
                    ledger.add(ListedObject("bkt", str(count), "etag", 10, WHEN))
                    count += 1
