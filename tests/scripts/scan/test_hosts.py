"""A fleet on four hosts over CURVE, in network namespaces: what a network does to it loses nothing, doubles nothing and
holds nothing up for longer than the settings say."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from support.fleet import Fleet
from support.hosts import Host, what_is_missing
from support.programs import Program, eventually
from support.spread_fleet import PRODUCER_NAME, SpreadFleet, ended_after, seconds_for
from support.stranger import KINDS

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(what_is_missing()), reason=what_is_missing())]

AN_IMAGE_S = 0.06
DEADLINE_S = 2.0
"""SNIFFER_CONSUMER_DEADLINE_S of the fleet."""
CONNECTION_S = 10.0
"""After which ZeroMQ has given up a connection over which nothing comes."""


@contextmanager
def four_hosts(fleet: Fleet, images: int, **environ: str) -> Iterator[tuple[SpreadFleet, list[Host]]]:
    """A producer's host and three of consumers, and so many images."""
    fleet.fill(images)
    with SpreadFleet(fleet, seconds_an_image=AN_IMAGE_S, **environ) as spread:
        yield spread, [spread.network.host(f"c{number}") for number in range(3)]


def says(program: Program, words: str, within_s: float, times: int = 1) -> None:
    try:
        eventually(lambda: program.text().count(words) >= times, words, within_s)
    except AssertionError as error:
        raise AssertionError(f"{error}, {times} times, in:\n{program.text()}") from None


def leave_it_to(consumers: list[Program], number: int) -> None:
    """All others end, so that what is left is done by that one or by nobody."""
    others = [consumer for consumer in consumers if consumer is not consumers[number]]
    for consumer in others:
        consumer.signal(signal.SIGTERM)
    for consumer in others:
        assert consumer.wait(30) == 0, consumer.text()


@pytest.mark.parametrize("away_s", [2 * DEADLINE_S, CONNECTION_S + 5], ids=["deadline", "connection"])
def test_a_host_cut_off_for_longer_than_its_deadline_works_on_when_it_is_back(fleet: Fleet, away_s: float) -> None:
    with four_hosts(fleet, 400, SNIFFER_PRODUCER_DEADLINE_S="60") as (spread, hosts):
        producer = spread.produce()
        consumers = [spread.consume(host) for host in hosts]
        says(producer, " joins", 60, times=3)
        spread.under_way(10)
        hosts[1].cut_off()
        began = time.monotonic()
        says(producer, "its ", 3 * DEADLINE_S)
        others_go_on_from = fleet.stored()
        eventually(lambda: time.monotonic() - began > away_s, "it is away")
        assert fleet.stored() > others_go_on_from
        hosts[1].reconnect()
        says(producer, "is back", 15)
        leave_it_to(consumers, 1)
        spread.finish(producer, 400, seconds_for(400, AN_IMAGE_S, [away_s]))
        assert ended_after(consumers[1]) > 50


@pytest.mark.parametrize("lose", [Host.lose_what_is_sent_to_it, Host.lose_what_it_sends])
def test_a_one_way_partition_for_good_costs_no_more_than_that_host(fleet: Fleet, lose: Callable[[Host], None]) -> None:
    with four_hosts(fleet, 150) as (spread, hosts):
        producer = spread.produce()
        consumers = [spread.consume(host) for host in hosts]
        says(producer, " joins", 60, times=3)
        spread.under_way(10)
        lose(hosts[2])
        spread.finish(producer, 150, seconds_for(150, AN_IMAGE_S, [CONNECTION_S]))
        assert ended_after(consumers[0]) and ended_after(consumers[1])
        # Alone, it ends when it is told to, with work that it can hand to nobody; without, it may have ended by itself.
        consumers[2].signal(signal.SIGTERM)
        if consumers[2].wait(20):
            reasons = ("no word from a producer", "not ended 3.5 s after SIGTERM, since something does not answer")
            assert any(reason in consumers[2].text() for reason in reasons), consumers[2].text()


@pytest.mark.parametrize("lose", [Host.lose_what_is_sent_to_it, Host.lose_what_it_sends])
def test_a_one_way_partition_that_heals_leaves_a_fleet_of_three(fleet: Fleet, lose: Callable[[Host], None]) -> None:
    with four_hosts(fleet, 500, SNIFFER_PRODUCER_DEADLINE_S="60") as (spread, hosts):
        producer = spread.produce()
        consumers = [spread.consume(host) for host in hosts]
        says(producer, " joins", 60, times=3)
        spread.under_way(10)
        lose(hosts[0])
        says(producer, "images go to others", CONNECTION_S + DEADLINE_S)
        began = time.monotonic()
        eventually(lambda: time.monotonic() - began > CONNECTION_S, "its connection is gone")
        hosts[0].reconnect()
        says(producer, "is back", 15)
        leave_it_to(consumers, 0)
        spread.finish(producer, 500, seconds_for(500, AN_IMAGE_S, [CONNECTION_S]))
        assert ended_after(consumers[0]) > 50


def test_the_producer_s_host_cut_off_and_back_is_waited_for(fleet: Fleet) -> None:
    with four_hosts(fleet, 250, SNIFFER_PRODUCER_DEADLINE_S="60", SNIFFER_LEASE_S="60") as (spread, hosts):
        producer = spread.produce()
        consumers = [spread.consume(host) for host in hosts]
        says(producer, " joins", 60, times=3)
        spread.under_way(30)
        spread.producer_host.cut_off()
        says(producer, "images go to others", CONNECTION_S + DEADLINE_S)
        began = time.monotonic()
        eventually(lambda: time.monotonic() - began > CONNECTION_S, "connections are gone")
        spread.producer_host.reconnect()
        says(producer, "is back", 15, times=3)
        spread.finish(producer, 250, seconds_for(250, AN_IMAGE_S, [2 * CONNECTION_S]))
        assert sum(ended_after(consumer) for consumer in consumers) >= 250


def test_a_producer_on_another_host_is_found_by_its_name(fleet: Fleet) -> None:
    """As when the node of its pod is lost: nothing says so, and the next pod has another address."""
    with four_hosts(fleet, 250, SNIFFER_PRODUCER_DEADLINE_S="60") as (spread, hosts):
        next_host = spread.network.host("next")
        for host in hosts:
            host.knows(**{PRODUCER_NAME: spread.producer_host.address})
        producer = spread.produce("--scan-id=moves")
        consumers = [spread.consume(host, producer=PRODUCER_NAME) for host in hosts]
        says(producer, " joins", 60, times=3)
        spread.under_way(30)
        spread.producer_host.cut_off()
        producer.signal(signal.SIGKILL)
        began = time.monotonic()
        eventually(lambda: time.monotonic() - began > CONNECTION_S + 5, "they try the old address")
        for host in hosts:
            host.knows(**{PRODUCER_NAME: next_host.address})
        moved = spread.produce("--scan-id=moves", host=next_host)
        says(moved, " joins", 25, times=3)
        spread.finish(moved, 250, seconds_for(250, AN_IMAGE_S, []))
        assert sum(ended_after(consumer) for consumer in consumers) >= 250


def test_strangers_of_every_kind_disturb_nothing(fleet: Fleet) -> None:
    with four_hosts(fleet, 250) as (spread, hosts):
        outside = spread.network.host("outside")
        producer = spread.produce()
        consumers = [spread.consume(host) for host in hosts]
        says(producer, " joins", 60, times=3)
        strangers = {kind: spread.stranger(outside, kind) for kind in KINDS}
        for kind in KINDS:
            says(strangers[kind], "answer: ", 30)
        done_before = fleet.stored()
        spread.finish(producer, 250, seconds_for(250, AN_IMAGE_S, []))
        assert done_before < 200, "the scan had ended before the strangers came"
        assert sum(ended_after(consumer) for consumer in consumers) == 250
        for kind, stranger in strangers.items():
            assert stranger.process.poll() is None, stranger.text()
            answer = stranger.out[0]
            if kind == "another_release":
                assert "Refused" in answer and "Welcome" not in answer, answer
            elif kind != "garbage":
                assert answer == "answer: nothing", f"{kind}: {answer}"
    joined = [line for line in producer.err if line.endswith(" joins")]
    assert len(joined) == 3 and "images go to others" not in producer.text(), producer.text()
