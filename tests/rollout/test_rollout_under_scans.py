"""A rollout while scans are on: each keeps the version that it began with, and its certificate holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from support.fleet import Fleet
from support.programs import Program, eventually
from support.replicas import Site
from support.scratch_bucket import ScratchBucket

from sniffer.core.model_records import MODEL_NAME
from sniffer.core.records import Certificate

IMAGES = 60


@pytest.fixture
def fleet(site: Site, bucket: ScratchBucket, tmp_path: Path) -> Fleet:
    """The fleet of the site's database and first server; a producer that a test holds up is not given up."""
    environ = {
        "SNIFFER_DATABASE_URL": site.database_url,
        "SNIFFER_SERVING_URL": f"{site.replicas[0].url}/v1/models/{MODEL_NAME}",
        "SNIFFER_BATCH_SIZE": "1",
        "SNIFFER_PRODUCER_DEADLINE_S": "200",
    }
    fleet = Fleet(bucket, site.database_url, environ, tmp_path)
    fleet.fill(IMAGES)
    return fleet


@contextmanager
def held_up(program: Program) -> Iterator[None]:
    """The scan hands out nothing meanwhile. (A consumer that is held up may hold MySQL's locks.)"""
    children = psutil.Process(program.process.pid).children()
    [producer] = [child for child in children if "sniffer.scan.produce" in child.cmdline()]
    producer.suspend()
    try:
        yield
    finally:
        producer.resume()


def certificate_of(program: Program, path: Path) -> Certificate:
    assert program.wait() == 0, program.text()
    return Certificate.parse(json.loads(path.read_text()))


@pytest.mark.slow
def test_scans_that_began_before_a_rollout_and_after_it_all_hold(site: Site, fleet: Fleet, tmp_path: Path) -> None:
    site.publish(1)
    site.step("run")
    files = {name: tmp_path / f"{name}.json" for name in ("pinned", "before", "after")}
    flags = {name: [f"--scan-id={name}", f"--result={file}"] for name, file in files.items()}
    with fleet.start("--model-version=1", *flags["pinned"]) as pinned:
        eventually(lambda: fleet.stored() > 0, "the first scan scores", 60)
        with held_up(pinned):
            assert fleet.stored() < IMAGES, "the first scan was done too early: more images are needed"
            site.publish(2, "other")
            site.step("load", "--version=2")
            with fleet.start("--model-version=stable", *flags["before"]) as before:
                eventually(lambda: len(fleet.rows("SELECT 1 FROM scans")) == 2, "the second scan has begun", 60)
                site.step("verify", "--version=2", "--latency-floor-ms=10000", "--max-flips=1", "--max-flag-change=1")
                site.step("promote", "--version=2")
                found = {"before": certificate_of(before, files["before"])}
            with fleet.start("--model-version=stable", *flags["after"]) as after:
                found["after"] = certificate_of(after, files["after"])
        found["pinned"] = certificate_of(pinned, files["pinned"])
    assert {name: certificate.model_version for name, certificate in found.items()} == {
        "pinned": 1,
        "before": 1,
        "after": 2,
    }
    for certificate in found.values():
        assert certificate.holds, certificate.problems
        assert certificate.listed == IMAGES
    rows = dict(fleet.rows("SELECT model_version, COUNT(*) FROM predictions GROUP BY model_version"))
    assert rows == {1: IMAGES, 2: IMAGES}
    mixed = "SELECT scan_number FROM predictions GROUP BY scan_number HAVING COUNT(DISTINCT model_version) > 1"
    assert fleet.rows(mixed) == []
    assert site.statuses() == {1: "previous", 2: "stable"}
