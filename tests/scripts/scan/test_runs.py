"""Two runs of one scan, as processes: the second is refused, or it takes over and the first writes nothing more."""

from __future__ import annotations

import signal

import pytest
from support.fleet import Fleet, counted
from support.programs import Program, eventually

PRODUCER = "sniffer.scan.produce"


@pytest.mark.slow
def test_a_second_run_of_a_living_scan_is_refused(fleet: Fleet) -> None:
    fleet.fill(3)
    endpoint = f"ipc://{fleet.folder}/first"
    with fleet.start(f"--endpoint={endpoint}", "--scan-id=nightly", program=PRODUCER) as first:
        _eventually_held(fleet)
        second = [f"--endpoint=ipc://{fleet.folder}/second", "--scan-id=nightly"]
        with fleet.start(*second, program=PRODUCER) as other:
            assert other.wait() == 1, other.text()
        assert "scan nightly is held by" in other.text()
        assert "wait until it has ended, or stop it, then run again" in other.text()
        with Program("sniffer.scan.consume", f"--endpoint={endpoint}", environ=fleet.environ) as consumer:
            assert (first.wait(), consumer.wait()) == (0, 0), first.text()
    assert counted(fleet.certificate()) == {"predicted": 3}
    assert fleet.certificate().run_number == 1


def test_a_run_that_was_frozen_writes_no_certificate_over_the_newer_one(fleet: Fleet) -> None:
    fleet.fill(3)
    with fleet.start(f"--endpoint=ipc://{fleet.folder}/first", "--scan-id=nightly", program=PRODUCER) as frozen:
        _eventually_held(fleet)
        frozen.signal(signal.SIGSTOP)
        certificate = fleet.scan("--scan-id=nightly")
        assert (certificate.run_number, certificate.holds) == (2, True)
        written = fleet.certificate_path.read_bytes()
        frozen.signal(signal.SIGCONT)
        assert frozen.wait() == 1, frozen.text()
        assert "run 1 of scan nightly has been superseded by run 2" in frozen.text()
        assert "Traceback" not in frozen.text()
    assert fleet.certificate_path.read_bytes() == written
    assert fleet.rows("SELECT state, run_number FROM scans") == [("complete", 2)]


def test_a_scan_that_was_killed_is_run_again_once_its_lease_is_over(fleet: Fleet) -> None:
    fleet.fill(3)
    fleet.environ["SNIFFER_LEASE_S"] = "12"
    with fleet.start(f"--endpoint=ipc://{fleet.folder}/first", "--scan-id=nightly", program=PRODUCER) as killed:
        _eventually_held(fleet)
        killed.signal(signal.SIGKILL)
        killed.wait()
    with fleet.start("--scan-id=nightly") as again:
        assert again.wait() == 0, again.text()
    assert "scan nightly is held by" in again.text() and "waiting" in again.text()
    assert fleet.certificate().run_number == 2
    assert fleet.rows("SELECT * FROM leases") == []


def _eventually_held(fleet: Fleet) -> None:
    eventually(lambda: fleet.rows("SELECT holder FROM leases"), "the scan has a lease")
