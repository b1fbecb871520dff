"""Killing, stopping and starving any part of a scan: no image lost, no row doubled, the counts add up."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.flaky_s3 import DENIED, FlakyS3
from support.fleet import Fleet, ModelServerProcess, counted
from support.programs import Program, eventually

from sniffer.scan.messages import PROTOCOL, FromProducer, HandBack, Heartbeat, Hello, Welcome, Work
from sniffer.scan.wire import ConsumerSocket
from sniffer_local.mariadb import MariaDb
from sniffer_local.processes import free_port

FRAGILE = str(Path(__file__).parents[2] / "support" / "fragile_consume.py")


@pytest.fixture
def flaky(fleet: Fleet) -> Iterator[FlakyS3]:
    """The fleet's S3 behind a proxy, slow enough that a fault comes in the middle of a scan."""
    with FlakyS3(fleet.bucket.endpoint_url) as proxy:
        fleet.environ["AWS_ENDPOINT_URL"] = proxy.endpoint_url
        proxy.latency_s = 0.1
        yield proxy


def under_way(fleet: Fleet, rows: int = 10) -> None:
    eventually(lambda: fleet.stored() >= rows, f"{rows} rows are stored")


def finish(fleet: Fleet, program: Program, count: int) -> None:
    """The scan ends with a certificate that holds, and each of the `count` images has its one row."""
    assert program.wait(120) == 0, program.text()
    certificate = fleet.certificate()
    assert certificate.holds and certificate.listed == count == sum(certificate.outcomes.values())
    fleet.assert_every_object_has_one_row()


def test_consumers_killed_at_any_moment_lose_nothing(fleet: Fleet, flaky: FlakyS3) -> None:
    fleet.fill(160)
    with fleet.start("--consumers=3") as program:
        for rows in (5, 40, 80):
            under_way(fleet, rows)
            random.Random(rows).choice(program.children("sniffer.scan.consume")).kill()
        finish(fleet, program, 160)
    assert program.text().count("starting it again") == 3
    assert counted(fleet.certificate()) == {"predicted": 160}


def test_a_killed_producer_leaves_work_that_a_rerun_finishes(fleet: Fleet, flaky: FlakyS3) -> None:
    fleet.fill(120)
    with fleet.start("--consumers=2", "--scan-id=one") as program:
        under_way(fleet, 20)
        program.children("sniffer.scan.produce")[0].kill()
        assert program.wait() == 1
        assert (
            "the producer ended with signal 9 (SIGKILL): what consumers have stored counts; run again" in program.text()
        )
        assert program.children() == []
    done = fleet.stored()
    assert 20 <= done < 120
    certificate = fleet.scan("--scan-id=one")
    assert counted(certificate) == {"unchanged": done, "predicted": 120 - done}
    fleet.assert_every_object_has_one_row()


@pytest.mark.slow
def test_a_consumer_outlives_its_producer_and_works_for_the_next(fleet: Fleet, flaky: FlakyS3) -> None:
    fleet.fill(80)
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    with Program("sniffer.scan.consume", f"--endpoint={endpoint}", environ=fleet.environ) as consumer:
        with fleet.start(f"--endpoint={endpoint}", program="sniffer.scan.produce") as producer:
            under_way(fleet)
            producer.process.kill()
        with fleet.start(f"--endpoint={endpoint}", program="sniffer.scan.produce") as producer:
            finish(fleet, producer, 80)
        assert consumer.wait() == 0


def test_a_killed_model_server_is_waited_for(fleet: Fleet, flaky: FlakyS3, model_server: ModelServerProcess) -> None:
    fleet.fill(100)
    with fleet.start("--consumers=2") as program:
        under_way(fleet)
        model_server.kill()
        time.sleep(1)
        model_server.start()
        finish(fleet, program, 100)


def test_a_killed_database_is_waited_for(fleet: Fleet, flaky: FlakyS3, mariadb: MariaDb) -> None:
    fleet.fill(100)
    with fleet.start("--consumers=2") as program:
        under_way(fleet)
        mariadb.kill()
        time.sleep(3)
        mariadb.start()
        finish(fleet, program, 100)
    assert counted(fleet.certificate()) == {"predicted": 100}


@pytest.mark.slow
def test_a_consumer_stopped_past_its_deadline_and_continued_doubles_nothing(fleet: Fleet, flaky: FlakyS3) -> None:
    fleet.fill(400)  # five seconds at least, whatever the stopped consumer happens to hold
    with fleet.start("--consumers=2") as program:
        eventually(lambda: program.text().count(" joins") == 2, "both consumers have joined")
        under_way(fleet)
        stopped = program.children("sniffer.scan.consume")[0]
        stopped.suspend()
        eventually(lambda: "images go to others" in program.text(), "the stopped consumer is taken for dead")
        stopped.resume()
        finish(fleet, program, 400)
    assert counted(fleet.certificate()) == {"predicted": 400}


def heard(consumer: ConsumerSocket) -> list[FromProducer]:
    consumer.wait(0.1)
    return list(consumer.receive())


@pytest.mark.slow
def test_images_lost_with_a_connection_are_sent_again(fleet: Fleet) -> None:
    """A consumer whose connection broke keeps beating, but what was under way to it is nowhere."""
    fleet.fill(30)
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    with (
        fleet.start(f"--endpoint={endpoint}", program="sniffer.scan.produce") as producer,
        ConsumerSocket(endpoint, b"leaky") as leaky,
    ):
        leaky.send(Hello(PROTOCOL, "leaky", 8))
        arrived: list[object] = []

        def has_eight_images() -> bool:
            arrived.extend(heard(leaky))
            return len(arrived) > 8

        eventually(has_eight_images, "a welcome and eight images")
        (session,) = [message.session for message in arrived if isinstance(message, Welcome)]
        with Program("sniffer.scan.consume", f"--endpoint={endpoint}", environ=fleet.environ):
            while producer.process.poll() is None:
                later = tuple(m.number for m in heard(leaky) if isinstance(m, Work))
                leaky.send(HandBack(session, later))
                leaky.send(Heartbeat(session))
            finish(fleet, producer, 30)
    assert "images never reached leaky" in producer.text()


def test_an_object_deleted_between_listing_and_fetching_is_gone(fleet: Fleet, flaky: FlakyS3) -> None:
    fleet.fill(10)
    flaky.after_listing = lambda: fleet.bucket.delete("images/0003.jpg")
    certificate = fleet.scan()
    assert counted(certificate) == {"predicted": 9, "gone": 1}
    assert [(sample.key, sample.code) for sample in certificate.failure_samples] == [("images/0003.jpg", "deleted")]


@pytest.mark.slow
def test_s3_away_for_a_while_is_waited_for(fleet: Fleet, flaky: FlakyS3) -> None:
    fleet.fill(60)
    with fleet.start() as program:
        under_way(fleet)
        flaky.away_for(4)
        finish(fleet, program, 60)
    assert counted(fleet.certificate()) == {"predicted": 60}


def test_objects_that_may_not_be_read_are_inaccessible_and_heal(fleet: Fleet, flaky: FlakyS3) -> None:
    fleet.fill(20)
    flaky.refuse = lambda _method, path: (403, DENIED) if "/images/000" in path else None
    certificate = fleet.scan()
    assert counted(certificate) == {"predicted": 10, "inaccessible": 10}
    assert certificate.codes == {"access_denied": 10}
    assert certificate.failure_samples[0].code == "access_denied"
    flaky.gets.clear()
    assert counted(fleet.scan()) == {"unchanged": 10, "inaccessible": 10}
    flaky.refuse = lambda _method, _path: None
    assert counted(fleet.scan()) == {"unchanged": 10, "predicted": 10}
    fleet.assert_every_object_has_one_row()


def test_objects_that_fail_go_over_the_error_budget_and_heal(fleet: Fleet, flaky: FlakyS3) -> None:
    fleet.fill(20)
    fleet.environ["SNIFFER_FETCH_PATIENCE_S"] = "0.2"
    flaky.refuse = lambda _method, path: (404, b"default backend") if "/images/001" in path else None
    certificate = fleet.scan(status=1)
    assert counted(certificate) == {"predicted": 10, "failed": 10}
    assert "10 of 20 images failed" in certificate.problems[0]
    flaky.refuse = lambda _method, _path: None
    assert counted(fleet.scan()) == {"unchanged": 10, "predicted": 10}


def test_a_scan_that_may_read_nothing_says_so(fleet: Fleet, flaky: FlakyS3) -> None:
    fleet.fill(3)
    flaky.refuse = lambda _method, path: (403, DENIED) if "/images/" in path else None
    certificate = fleet.scan(status=1)
    assert counted(certificate) == {"inaccessible": 3}
    assert "S3 refused each of 3 objects (AccessDenied)" in certificate.problems[0]


def test_an_image_that_kills_consumers_is_failed_and_the_others_are_scored(fleet: Fleet) -> None:
    fleet.fill(20)
    fleet.put("images/0010-poison.jpg", b"\xff\xd8POISON")
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    fleet.environ |= {"SNIFFER_ERROR_BUDGET": "0.1", "SNIFFER_CONSUMER_DEADLINE_S": "1"}
    with fleet.start(f"--endpoint={endpoint}", program="sniffer.scan.produce") as producer:
        ended = threading.Event()
        nurse = threading.Thread(target=_keep_fragile_consumer, args=(fleet, endpoint, ended))
        nurse.start()
        try:
            status = producer.wait(90)
        finally:
            ended.set()
            nurse.join()
    assert status == 0, producer.text()
    assert counted(fleet.certificate()) == {"predicted": 20, "failed": 1}
    assert fleet.certificate().failure_samples[0].code == "kills_consumers"
    fleet.assert_every_object_has_one_row()


def _keep_fragile_consumer(fleet: Fleet, endpoint: str, ended: threading.Event) -> None:
    """One consumer at a time, started again whenever it dies."""
    while not ended.is_set():
        with Program(FRAGILE, f"--endpoint={endpoint}", environ=fleet.environ) as consumer:
            while consumer.process.poll() is None and not ended.is_set():
                time.sleep(0.02)


def test_sigterm_ends_a_scan_cleanly_and_a_rerun_does_the_rest(fleet: Fleet, flaky: FlakyS3) -> None:
    fleet.fill(120)
    with fleet.start("--consumers=2") as program:
        under_way(fleet)
        program.signal(signal.SIGTERM)
        assert program.wait(10) == 1
        assert program.children() == []
    certificate = fleet.certificate()
    assert not certificate.holds and "stopped before the end" in certificate.problems[0]
    done = fleet.stored()
    assert sum(certificate.outcomes.values()) == done < 120
    assert counted(fleet.scan()) == {"unchanged": done, "predicted": 120 - done}


def test_a_killed_scan_takes_its_children_with_it(fleet: Fleet, flaky: FlakyS3) -> None:
    fleet.fill(120)
    with fleet.start("--consumers=2") as program:
        under_way(fleet)
        children = program.children("sniffer.")
        assert len(children) == 5  # the producer, and two consumers with a decoder each
        program.process.kill()
        eventually(lambda: not any(child.is_running() and _awake(child) for child in children), "they end", 15)


def _awake(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
def test_a_model_server_that_stays_away_ends_the_scan_with_the_reason(
    fleet: Fleet, flaky: FlakyS3, model_server: ModelServerProcess
) -> None:
    fleet.fill(100)
    fleet.environ |= {"SNIFFER_MAX_RESTARTS": "1", "SNIFFER_SERVING_PATIENCE_S": "0.5"}
    with fleet.start("--consumers=1") as program:
        under_way(fleet)
        model_server.kill()
        assert program.wait() == 1
    assert "the model server at" in program.text() and "has not answered for 0.5 s" in program.text()
    assert "no restart is left (SNIFFER_MAX_RESTARTS)" in program.text()
    model_server.start()
    done = fleet.stored()
    assert counted(fleet.scan()) == {"unchanged": done, "predicted": 100 - done}
