"""The ledger as a pure machine: examples of each rule, and a random walk that must never lose or double an image."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sniffer.core.records import ListedObject, Outcome, Unscored
from sniffer.scan.holdings import Entry
from sniffer.scan.ledger import Ledger

WHEN = datetime(2026, 11, 20, tzinfo=UTC)
FAILED = Unscored(Outcome.FAILED, "kills_consumers", "poison")


def image(name: str, size_bytes: int = 10) -> ListedObject:
    return ListedObject("bkt", name, "etag", size_bytes, WHEN)


def fetch_all(ledger: Ledger) -> None:
    while entry := ledger.next_to_fetch():
        ledger.fetched(entry.number, FAILED if entry.is_poison else b"x" * entry.image.size_bytes)


def grant_all(ledger: Ledger, now: float = 0.0) -> list[tuple[bytes, Entry]]:
    grants = []
    while grant := ledger.next_grant(now):
        grant[1].release()
        grants.append(grant)
    return grants


def loaded(count: int, held_bytes: int = 1000, size_bytes: int = 10) -> Ledger:
    ledger = Ledger(deadline_s=10, held_bytes=held_bytes)
    for i in range(count):
        ledger.add(image(str(i), size_bytes))
    fetch_all(ledger)
    return ledger


def test_nothing_is_handed_out_without_credit() -> None:
    ledger = loaded(5)
    assert grant_all(ledger) == []
    ledger.join(b"a", 2, now=0)
    assert [entry.number for _, entry in grant_all(ledger)] == [0, 1]
    assert ledger.in_flight == 5


def test_work_goes_to_whoever_holds_least() -> None:
    ledger = loaded(6)
    ledger.join(b"a", 10, now=0)
    ledger.join(b"b", 10, now=0)
    names = [name for name, _ in grant_all(ledger)]
    assert names.count(b"a") == names.count(b"b") == 3


def test_a_consumer_holds_no_more_bytes_than_it_may_but_always_one_image() -> None:
    ledger = loaded(5, held_bytes=25, size_bytes=10)
    ledger.join(b"a", 10, now=0)
    assert len(grant_all(ledger)) == 2
    large = loaded(1, held_bytes=25, size_bytes=1000)
    large.join(b"a", 10, now=0)
    assert len(grant_all(large)) == 1


def test_an_image_leaves_only_when_acknowledged_and_only_once() -> None:
    ledger = loaded(1)
    ledger.join(b"a", 1, now=0)
    grant_all(ledger)
    assert ledger.in_flight == 1
    assert ledger.settle(b"a", 0, Outcome.PREDICTED, 12)
    assert not ledger.settle(b"a", 0, Outcome.PREDICTED, 12)
    assert (ledger.in_flight, ledger.done) == (0, 1)


def test_a_silent_consumer_expires_and_its_images_go_to_others_first() -> None:
    ledger = loaded(3)
    ledger.join(b"a", 2, now=0)
    grant_all(ledger)
    ledger.join(b"b", 3, now=9)
    assert ledger.expired(now=9) == []
    assert ledger.expired(now=10.5) == [b"a"]
    ledger.mark_dead_and_requeue(b"a", blames=True)
    fetch_all(ledger)
    assert sorted(entry.number for _, entry in grant_all(ledger)) == [0, 1, 2]


def test_a_consumer_back_from_the_dead_counts_once() -> None:
    ledger = loaded(1)
    ledger.join(b"a", 1, now=0)
    grant_all(ledger)
    ledger.mark_dead_and_requeue(b"a", blames=True)
    fetch_all(ledger)
    ledger.join(b"b", 1, now=11)
    grant_all(ledger)
    assert ledger.mark_alive(b"a", now=12)
    assert ledger.settle(b"a", 0, Outcome.PREDICTED, 12)
    assert not ledger.settle(b"a", 0, Outcome.PREDICTED, 12)
    assert (ledger.in_flight, ledger.done) == (0, 1)


@pytest.mark.parametrize("stage", ["waiting", "fetching", "ready"])
def test_a_late_acknowledgement_takes_the_image_out_wherever_it_is(stage: str) -> None:
    ledger = loaded(1)
    ledger.join(b"a", 1, now=0)
    grant_all(ledger)
    ledger.mark_dead_and_requeue(b"a", blames=True)
    entry = ledger.next_to_fetch() if stage != "waiting" else None
    if stage == "ready" and entry:
        ledger.fetched(entry.number, b"x")
    assert ledger.settle(b"a", 0, Outcome.PREDICTED, 12)
    if stage == "fetching" and entry:
        ledger.fetched(entry.number, b"x")
    assert (ledger.in_flight, ledger.on_hand, ledger.on_hand_bytes, ledger.done) == (0, 0, 0, 1)


def test_an_image_given_up_and_then_scored_counts_as_scored() -> None:
    ledger = loaded(1)
    ledger.join(b"a", 1, now=0)
    grant_all(ledger)
    ledger.mark_dead_and_requeue(b"a", blames=True)
    fetch_all(ledger)
    ledger.join(b"b", 1, now=11)
    grant_all(ledger)
    assert ledger.settle(b"b", 0, Outcome.FAILED, 12)
    assert ledger.settle(b"a", 0, Outcome.PREDICTED, 13)
    assert (ledger.counts[Outcome.FAILED], ledger.counts[Outcome.PREDICTED], ledger.done) == (0, 1, 1)


def test_handing_back_and_leaving_blame_no_image() -> None:
    ledger = loaded(2)
    ledger.join(b"a", 2, now=0)
    grant_all(ledger)
    ledger.hand_back(b"a", [1])
    ledger.leave(b"a")
    assert not ledger.knows(b"a")
    ledger.join(b"b", 2, now=0)
    fetch_all(ledger)
    assert [entry.deaths for _, entry in grant_all(ledger)] == [0, 0]


def test_what_was_lost_on_the_way_goes_to_others_and_its_credit_comes_back() -> None:
    ledger = loaded(3)
    ledger.join(b"a", 2, now=0)
    grant_all(ledger, now=0)
    assert ledger.reconcile(b"a", [0], now=9) == 0
    assert ledger.reconcile(b"a", [0], now=11) == 1
    fetch_all(ledger)
    grants = grant_all(ledger, now=11)
    assert [(entry.number, entry.deaths) for _, entry in grants] == [(2, 0)]
    assert ledger.in_flight == 3


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), images=st.integers(0, 60))
def test_whatever_happens_every_image_ends_exactly_once(seed: int, images: int) -> None:
    """Random kills, stops, returns, hand-backs and duplicates; at the end a survivor finishes the work."""
    rng = random.Random(seed)
    ledger = Ledger(deadline_s=5, held_bytes=100)
    for i in range(images):
        ledger.add(image(str(i), rng.randrange(120)))
    sent: list[tuple[bytes, int]] = []
    names = [b"a", b"b", b"c"]
    for now in range(150):
        name = rng.choice(names)
        match rng.randrange(9):
            case 0:
                ledger.join(name, rng.randrange(5), now)
            case 1:
                ledger.mark_dead_and_requeue(name, blames=True)
            case 2 if ledger.knows(name):
                ledger.leave(name)
            case 3:
                for expired in ledger.expired(now):
                    ledger.mark_dead_and_requeue(expired, blames=True)
            case 4 if sent:
                holder, number = rng.choice(sent)
                ledger.settle(holder, number, rng.choice([Outcome.PREDICTED, Outcome.REUSED]), now)
            case 5 if sent:
                holder, number = rng.choice(sent)
                ledger.hand_back(holder, [number])
            case 6 if ledger.knows(name):
                ledger.mark_alive(name, now)
                ledger.grant_credit(name, 1)
            case 7 if ledger.knows(name):
                ledger.reconcile(name, {number for to, number in sent if to == name and number % 2}, now)
            case _:
                fetch_all(ledger)
                sent += [(to, entry.number) for to, entry in grant_all(ledger)]
        assert ledger.done + ledger.in_flight == images
    for name in names:
        ledger.mark_dead_and_requeue(name, blames=True)
    ledger.join(b"survivor", 10_000, now=1000)
    for _ in range(3 * images + 1):
        fetch_all(ledger)
        for name, entry in grant_all(ledger):
            outcome = entry.verdict.outcome if entry.verdict else Outcome.PREDICTED
            ledger.settle(name, entry.number, outcome, 1000)
    assert (ledger.done, ledger.in_flight, ledger.on_hand_bytes) == (images, 0, 0)


def revived(images: int, credit: int) -> Ledger:
    """A consumer that was taken for dead with all its images, and is heard of again."""
    ledger = loaded(images)
    ledger.join(b"a", credit, now=0)
    grant_all(ledger)
    ledger.mark_dead_and_requeue(b"a", blames=True)
    fetch_all(ledger)
    assert ledger.mark_alive(b"a", now=1)
    return ledger


def test_a_consumer_back_from_the_dead_gets_work_again_once_it_has_said_hello() -> None:
    ledger = revived(2, credit=2)
    assert grant_all(ledger, now=1) == []
    ledger.join(b"a", 2, now=1)
    assert len(grant_all(ledger, now=1)) == 2


def test_a_second_fetch_that_succeeds_takes_back_the_verdict_of_the_first() -> None:
    ledger = Ledger(deadline_s=10, held_bytes=1000)
    ledger.add(image("slow"))
    ledger.next_to_fetch()
    ledger.fetched(0, Unscored(Outcome.FAILED, "fetch", "S3 was away"))
    ledger.join(b"a", 1, now=0)
    grant_all(ledger)
    ledger.leave(b"a")
    fetch_all(ledger)
    ledger.join(b"b", 1, now=1)
    ((_, entry),) = grant_all(ledger, now=1)
    assert entry.verdict is None


def test_a_second_hello_does_not_ask_again_for_what_is_under_way() -> None:
    ledger = loaded(6)
    ledger.join(b"a", 2, now=0)
    grant_all(ledger)
    ledger.join(b"a", 2, now=0)
    assert grant_all(ledger) == []
    ledger.join(b"a", 1, now=0, holds=[0])
    assert grant_all(ledger) == []
    ledger.join(b"a", 2, now=0, holds=[0, 1])
    assert len(grant_all(ledger)) == 2


def test_an_image_that_was_gone_and_then_scored_counts_as_scored() -> None:
    ledger = loaded(1)
    ledger.join(b"a", 1, now=0)
    grant_all(ledger)
    ledger.mark_dead_and_requeue(b"a", blames=True)
    fetch_all(ledger)
    ledger.join(b"b", 1, now=11)
    grant_all(ledger)
    assert ledger.settle(b"b", 0, Outcome.GONE, 12)
    assert ledger.settle(b"a", 0, Outcome.PREDICTED, 13)
    assert (ledger.counts[Outcome.GONE], ledger.counts[Outcome.PREDICTED], ledger.done) == (0, 1, 1)
