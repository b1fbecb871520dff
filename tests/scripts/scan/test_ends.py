"""How whole scans end and start again while a system hangs: in time, certified where MySQL answers, and patiently."""

from __future__ import annotations

import platform
import re
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
from support.fleet import Fleet, ModelServerProcess, counted, jpeg
from support.programs import Program, eventually

from sniffer.core.ending import Ended
from sniffer.scan import consume


def test_sigterm_closes_the_scan_while_the_model_server_hangs(fleet: Fleet, model_server: ModelServerProcess) -> None:
    """Nor does it wait for somebody to read its last figures."""
    fleet.fill(300)
    with fleet.start("--consumers=2", "--scan-id=one", "--metrics-port=0") as program:
        eventually(lambda: fleet.stored() > 0, "the scan is under way")
        hung = psutil.Process(model_server.pid)
        hung.suspend()
        try:
            time.sleep(0.5)
            began = time.monotonic()
            program.signal(signal.SIGTERM)
            assert program.wait(30) == 1
            assert time.monotonic() - began < 5 and program.children() == []
        finally:
            hung.resume()
    assert fleet.rows("SELECT state FROM scans WHERE scan_id = 'one'") == [("incomplete",)]
    assert "stopped before the end" in fleet.certificate().problems[0]


@pytest.mark.slow
def test_a_resumed_scan_waits_at_its_start_for_a_model_server_that_is_away(
    fleet: Fleet, model_server: ModelServerProcess
) -> None:
    fleet.fill(4)
    fleet.scan("--scan-id=one")
    model_server.kill()
    restart = threading.Timer(3, model_server.start)
    try:
        with fleet.start("--scan-id=two") as program:
            assert program.wait() == 1
        restart.start()
        fleet.put("images/new.jpg", jpeg(5))
        # Its consumers wait with it, though alone they would have given up by then.
        fleet.environ |= {"SNIFFER_NO_CONSUMER_S": "3", "SNIFFER_MAX_RESTARTS": "0"}
        assert counted(fleet.scan("--scan-id=one")) == {"unchanged": 4, "predicted": 1}
    finally:
        restart.join() if restart.is_alive() else model_server.start()


def test_a_consumer_that_comes_after_the_end_has_nothing_to_do(fleet: Fleet, tmp_path: Path) -> None:
    fleet.fill(2)
    fleet.scan("--scan-id=done")
    tmp_path.chmod(0o700)
    endpoint, quick = f"--endpoint=ipc://{tmp_path}/fleet", {"SNIFFER_NO_CONSUMER_S": "0.5"}

    def late(*flags: str, status: int, **environ: str) -> str:
        with Program("sniffer.scan.consume", endpoint, *flags, environ=fleet.environ | environ) as program:
            assert program.wait(20) == status, program.text()
            return program.text()

    began = time.monotonic()
    said = late("--scan-id=done", status=0)
    assert "scan done is complete, and its producer has ended: nothing is left to do" in said
    # In a container each of them has the process number 1.
    assert re.search(rf" {re.escape(platform.node())}-\d+ \[done\] ", said)
    assert time.monotonic() - began < 20  # SNIFFER_NO_CONSUMER_S is 60
    # What is not complete is waited for: its producer may be on its way.
    assert "no word from a producer at" in late("--scan-id=other", status=1, **quick)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_consumer_that_is_ended_while_it_starts_has_nothing_to_complain_of(
    number: signal.Signals, status: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # A scan whose producer refuses its settings ends its consumers, wherever they are: its own words are the last.
    def is_ended(*_: object, check: bool) -> int:
        assert not check
        raise Ended(number)

    monkeypatch.setattr(consume, "_consume", is_ended)
    assert consume.main(["--endpoint=ipc:///nowhere", "--skip-checks"]) == status
    assert "run it again" not in capfd.readouterr().err
