"""The metrics of real scans over HTTP: true to the certificate, on the loopback only; a port that is taken is said."""

from __future__ import annotations

import re
import signal
import socket
from collections import Counter
from urllib.error import URLError
from urllib.request import urlopen

import psutil
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import create_engine, text
from support.fleet import Fleet, counted, jpeg
from support.programs import Program, eventually

from sniffer.core.metrics import METRICS
from sniffer.scan.messages import PROTOCOL, Hello, Leave
from sniffer.scan.wire import ConsumerSocket

Page = dict[tuple[str, ...], float]


def page_of(text: str) -> Page:
    """Each sample's value by its name and the values of its labels, in the order of their names."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def address(program: Program) -> str:
    """Where the program says that its metrics are."""

    def found() -> re.Match[str] | None:
        return re.search(r"metrics at (http://\S+)", program.text())

    eventually(lambda: found() or program.process.poll() is not None, "the line with the metrics' address")
    match = found()
    assert match is not None, program.text()
    return match[1]


def last_page(program: Program) -> Page:
    """The last page that the program gave before it ended, asked for again and again."""
    url, last = address(program), ""

    def has_ended() -> bool:
        nonlocal last
        try:
            with urlopen(url, timeout=10) as answer:
                last = answer.read().decode()
        except (URLError, OSError):
            return program.process.poll() is not None
        return False

    eventually(has_ended, "the end of the scan")
    return page_of(last)


def eventually_listed(program: Program, count: int) -> None:
    url = address(program)

    def listed() -> bool:
        with urlopen(url, timeout=10) as answer:
            return page_of(answer.read().decode())["sniffer_listed_objects_total",] == count

    eventually(listed, "everything is listed")


def test_the_last_figures_of_a_scan_are_those_of_its_certificate(fleet: Fleet) -> None:
    bodies = {f"{number}.jpg": jpeg(number) for number in range(12)}
    bodies |= {"copy.jpg": jpeg(0), "empty.jpg": b"", "page.jpg": b"<html></html>", "folder/": b""}
    for key, body in bodies.items():
        fleet.put(key, body)
    asked = ["--metrics-port=0", "--dag-run=scan_uploads/scheduled__1", "--next-due=2026-11-28T06:00:00Z"]
    with fleet.start("--consumers=2", *asked, SNIFFER_METRICS_LINGER_S="60") as program:
        last = last_page(program)
        assert program.wait() == 0, program.text()
    certificate = fleet.certificate()
    assert last["sniffer_listed_objects_total",] == certificate.listed == 16
    outcomes = {key[1]: value for key, value in last.items() if key[0] == "sniffer_images_total" and value}
    assert outcomes == counted(certificate)
    assert (
        last["sniffer_certificates_total", "scan", "holds"] == 1
        and last["sniffer_certificates_total", "scan", "broken"] == 0
    )
    assert last["sniffer_next_scan_due_timestamp_seconds", "scan_uploads"] == 1795845600
    assert 0 < last["sniffer_disk_free_bytes", "temporary"] < last["sniffer_disk_size_bytes", "temporary"]
    # From the two consumers, in one sum.
    rows = {key[1:]: value for key, value in last.items() if key[0] == "sniffer_rows_total"}
    of_consumers = {name: count for name, count in outcomes.items() if name not in ("skipped", "unchanged")}
    by_outcome: Counter[str] = Counter()
    for (_, outcome), value in rows.items():
        by_outcome[outcome] += int(value)
    assert {name: count for name, count in by_outcome.items() if count} == of_consumers
    assert rows["empty", "unreadable"] == 1
    stages = {key[1]: value for key, value in last.items() if key[0] == "sniffer_stage_seconds_count"}
    assert stages["fetch"] == stages["wait"] == 15 and stages["decode"] >= 12
    assert stages["list"] >= 1 and stages["predict"] >= 1 and stages["write"] >= 1
    assert last["sniffer_fetched_bytes_total",] == sum(map(len, bodies.values()))
    assert last["sniffer_listing_finished",] == 1 and last["sniffer_queue_images", "to_fetch"] == 0
    # No label has a key or anything else that is not foreseen.
    known = {
        value
        for metric in METRICS
        for values in metric.labels.values()
        if isinstance(values, tuple)
        for value in values
    }
    labels = {label for key in last for label in key[1:] if not re.fullmatch(r"[\d.]+|\+Inf", label)}
    assert labels <= known | {"scan_uploads"}


def test_a_fleet_serves_at_the_loopback_only_each_process_its_own(fleet: Fleet) -> None:
    fleet.fill(3)
    endpoint = f"--endpoint=ipc://{fleet.folder}/fleet"
    with (
        fleet.start(endpoint, program="sniffer.scan.produce", SNIFFER_METRICS_PORT="0") as producer,
        Program("sniffer.scan.consume", endpoint, "--metrics-port=0", environ=fleet.environ) as consumer,
    ):
        for program in (producer, consumer):
            port = int(address(program).rpartition(":")[2].partition("/")[0])
            listening = [
                connection.laddr
                for connection in psutil.Process(program.process.pid).net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            ]
            assert [(place.ip, place.port) for place in listening] == [("127.0.0.1", port)]
        last = last_page(producer)
        assert producer.wait() == 0 and consumer.wait() == 0
    assert last["sniffer_images_total", "predicted"] == 3
    assert ("sniffer_rows_total", "", "predicted") not in last


def test_a_scan_that_is_told_to_end_waits_for_no_reader(fleet: Fleet) -> None:
    fleet.fill(3)
    endpoint = f"--endpoint=ipc://{fleet.folder}/fleet"
    environ = {"SNIFFER_METRICS_PORT": "0", "SNIFFER_METRICS_LINGER_S": "60"}
    with fleet.start(endpoint, program="sniffer.scan.produce", **environ) as producer:
        eventually_listed(producer, 3)
        producer.signal(signal.SIGTERM)
        assert producer.wait(30) == 1
    assert "stopped before the end" in fleet.certificate().problems[0]
    assert "not ended" not in producer.text()


def test_a_scan_that_must_not_go_on_shows_its_broken_certificate(fleet: Fleet) -> None:
    fleet.fill(3)
    endpoint = f"ipc://{fleet.folder}/fleet"
    environ = {"SNIFFER_METRICS_PORT": "0", "SNIFFER_METRICS_LINGER_S": "60"}
    with fleet.start(f"--endpoint={endpoint}", program="sniffer.scan.produce", **environ) as producer:
        eventually_listed(producer, 3)
        engine = create_engine(fleet.database_url)
        with engine.begin() as connection:
            for statement in ("SET foreign_key_checks = 0", "DELETE FROM models"):
                connection.execute(text(statement))
        engine.dispose()
        with ConsumerSocket(endpoint, b"one") as peer:
            peer.send(Hello(PROTOCOL, "one", 2))
            peer.send(Leave("the model is gone", fatal=True))
            last = last_page(producer)
        assert producer.wait() == 2, producer.text()
    assert "is not registered in MySQL any more" in producer.text()
    assert (
        last["sniffer_certificates_total", "scan", "broken"] == 1
        and last["sniffer_certificates_total", "scan", "holds"] == 0
    )


def test_a_port_that_is_taken_ends_a_scan_at_once(fleet: Fleet) -> None:
    fleet.fill(1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with fleet.start(SNIFFER_METRICS_PORT=str(port)) as program:
            assert program.wait() == 2
    assert f"no metrics at 127.0.0.1 port {port}" in program.text() and "--metrics-port" in program.text()
    assert fleet.stored() == 0


def test_a_port_that_is_none_is_refused(fleet: Fleet) -> None:
    for flag, said in (("--metrics-port=70000", "0 to 65535"), ("--metrics-port=http", "whole number")):
        with fleet.start(flag) as program:
            assert program.wait() == 2
        assert said in program.text()
