"""Whole scans over files that are made to hurt, and under kills at random: every other image gets its score."""

from __future__ import annotations

import io
import random
import signal
import time

import psutil
import pytest
from PIL import Image
from support.black_hole import BlackHole
from support.flaky_s3 import FlakyS3
from support.fleet import Fleet, ModelServerProcess, counted
from support.programs import Program, eventually

from sniffer_local.processes import free_port

ENDS_WITHIN_S = 5.0


def bomb(number: int) -> bytes:
    """64 megapixels in 190 kB, unlike any of another number: half a second of CPU time."""
    file = io.BytesIO()
    Image.new("RGB", (8000, 8000), (number, 80, 80)).save(file, "PNG")
    return file.getvalue()


def test_bombs_are_verdicts_that_cost_no_consumer_and_are_remembered(fleet: Fleet) -> None:
    fleet.fill(40)
    for number in range(7):
        fleet.put(f"bombs/{number}.png", bomb(number))
    fleet.environ |= {"SNIFFER_DECODE_CPU_S": "0.15", "SNIFFER_MAX_RESTARTS": "0"}
    certificate = fleet.scan()
    assert counted(certificate) == {"predicted": 40, "unreadable": 7}
    assert {sample.code for sample in certificate.failure_samples} == {"over_cost_limit"}
    assert counted(fleet.scan()) == {"unchanged": 47}
    fleet.assert_every_object_has_one_row()


@pytest.mark.slow
def test_random_kills_of_consumers_and_decoders_fail_no_image(fleet: Fleet) -> None:
    rng, kills = random.Random(12), 0
    fleet.fill(400)
    fleet.environ |= {"SNIFFER_MAX_RESTARTS": "1000"}
    with FlakyS3(fleet.bucket.endpoint_url) as slow:
        fleet.environ["AWS_ENDPOINT_URL"] = slow.endpoint_url
        slow.latency_s = 0.5
        with fleet.start("--consumers=3") as program:
            eventually(lambda: fleet.stored() >= 10, "10 rows are stored")
            while program.process.poll() is None and kills < 40:
                victims = program.children("sniffer.scan.consume") + program.children("sniffer.decoding")
                if victims:
                    rng.choice(victims).kill()
                    kills += 1
                time.sleep(rng.uniform(0, 0.8))
            assert program.wait(200) == 0, program.text()
    assert kills >= 10
    assert counted(fleet.certificate()) == {"predicted": 400}
    fleet.assert_every_object_has_one_row()


def test_a_consumer_ends_in_time_while_the_model_server_hangs_and_hands_back_what_it_held(fleet: Fleet) -> None:
    fleet.fill(12)
    endpoint = f"--endpoint=tcp://127.0.0.1:{free_port()}"
    with BlackHole() as hole, fleet.start(endpoint, program="sniffer.scan.produce") as producer:
        hanging = fleet.environ | {"SNIFFER_SERVING_URL": f"http://127.0.0.1:{hole.port}/v1/models/drug_detector"}
        with Program("sniffer.scan.consume", endpoint, environ=hanging) as consumer:
            eventually(hole.is_asked.is_set, "the consumer asks the model server")
            consumer.signal(signal.SIGTERM)
            consumer.wait(ENDS_WITHIN_S)
        with Program("sniffer.scan.consume", endpoint, environ=fleet.environ):
            assert producer.wait() == 0, producer.text()
    assert counted(fleet.certificate()) == {"predicted": 12}


def test_the_children_of_a_killed_scan_end_in_time_while_the_model_server_hangs(
    fleet: Fleet, model_server: ModelServerProcess
) -> None:
    fleet.fill(200)
    with FlakyS3(fleet.bucket.endpoint_url) as slow:
        fleet.environ["AWS_ENDPOINT_URL"] = slow.endpoint_url
        slow.latency_s = 0.2
        with fleet.start("--consumers=2") as program:
            eventually(lambda: fleet.stored() >= 10, "10 rows are stored")
            server = psutil.Process(model_server.pid)
            server.suspend()
            try:
                time.sleep(0.5)
                children = program.children("sniffer.")
                program.process.kill()
                _, left = psutil.wait_procs(children, timeout=ENDS_WITHIN_S)
            finally:
                server.resume()
    assert left == []
