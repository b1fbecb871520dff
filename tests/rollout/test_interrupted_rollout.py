"""Rollouts that are killed, stopped or taken back half-way, and what a rerun, restore and rollback make of it."""

from __future__ import annotations

import os
import signal
import time

import pytest
from support.programs import Program, eventually
from support.replicas import KILLED, Site

from sniffer.adapters.mysql.models import ModelRegistry
from sniffer.core.ending import GRACE_S
from sniffer.core.errors import TransientError
from sniffer.core.model_records import Decision, ModelStatus
from sniffer.core.records import ScanRequest


def start(site: Site, *argv: str) -> Program:
    return Program("sniffer_rollout", *site.argv(argv[0]), *argv[1:])


@pytest.fixture
def second(site: Site) -> Site:
    """Version 1 is stable and served, version 2 published."""
    site.publish(1, status=ModelStatus.STABLE)
    site.step("restore")
    site.publish(2, "other")
    return site


def prove(site: Site) -> None:
    """Version 2 is loaded and let pass."""
    site.step("load", "--version=2")
    site.step("verify", "--version=2", "--latency-floor-ms=10000")


def test_a_killed_load_is_gone_on_with_and_restore_undoes_it(second: Site) -> None:
    with start(second, "load", "--version=2") as program:
        eventually(lambda: any("is told to serve" in line for line in program.err), "the servers are told")
        program.process.kill()
        program.process.wait()
    assert second.statuses() == {1: "stable", 2: "blessed"}
    second.step("load", "--version=2")
    assert second.served() == [([1, 2], 1, 2)] * 2
    second.step("restore")
    second.eventually_served([1], stable=1)


def promote_and_die(site: Site, *, committed: bool) -> None:
    """Promote version 2 in a process that SIGKILL ends right before the commit, or before the first file after it."""
    change = "5" if committed else "4"
    with Program(KILLED, change, *site.argv("promote"), "--version=2") as program:
        eventually(lambda: program.process.poll() is not None, "the program has ended")
        assert program.process.returncode == -signal.SIGKILL, program.text()
    assert site.statuses() == ({1: "previous", 2: "stable"} if committed else {1: "stable", 2: "blessed"})


@pytest.mark.parametrize("committed", [False, True])
def test_a_promotion_that_dies_around_its_transaction_is_finished_by_a_rerun(second: Site, committed: bool) -> None:
    prove(second)
    promote_and_die(second, committed=committed)
    # Scans ask by number, and both numbers answer.
    assert second.served() == [([1, 2], 2, None)] * 2
    second.step("promote", "--version=2")
    assert second.statuses() == {1: "previous", 2: "stable"}
    assert second.served() == [([1, 2], 2, None)] * 2


@pytest.mark.parametrize("committed", [False, True])
def test_restore_follows_the_database_after_a_promotion_that_died(second: Site, committed: bool) -> None:
    prove(second)
    promote_and_die(second, committed=committed)
    second.step("restore")
    if committed:
        second.eventually_served([1, 2], stable=2)
    else:
        second.eventually_served([1], stable=1)


@pytest.mark.slow
def test_a_run_that_is_told_to_end_restores_first(second: Site) -> None:
    with start(second, "run", "--version=2", "--latency-rounds=100000") as program:
        eventually(lambda: any("golden examples as published" in line for line in program.err), "it verifies")
        # A server that answers late: longer than a program without such a duty has.
        os.kill(second.replicas[0].pid, signal.SIGSTOP)
        try:
            program.signal(signal.SIGTERM)
            time.sleep(GRACE_S + 1.5)
            assert program.process.poll() is None, program.text()
        finally:
            os.kill(second.replicas[0].pid, signal.SIGCONT)
        assert program.wait() == 1
        assert "ended by SIGTERM" in program.text()
    assert second.statuses() == {1: "stable", 2: "blessed"}
    second.eventually_served([1], stable=1)


def test_a_rollback_swaps_stable_and_previous_and_a_pinned_scan_goes_on(second: Site) -> None:
    second.step("run", "--latency-floor-ms=10000")
    with second.database() as database:
        database.scans.open(ScanRequest("scan-1", "bkt"), 2, 0.5)
    found = second.step("rollback", "--version=1")
    assert (found["previous_stable"], found["stable"], found["previous"]) == (2, 1, 2)
    assert second.served() == [([1, 2], 1, None)] * 2
    assert second.step("rollback", "--version=1")["stable"] == 1
    assert second.statuses() == {1: "stable", 2: "previous"}


@pytest.mark.slow
def test_a_rollback_leaves_a_server_behind_that_does_not_answer(
    second: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sniffer_rollout.steps._ROLLBACK_LIMIT_S", 2.0)
    second.step("run", "--latency-floor-ms=10000")
    gone = second.replicas[1]
    gone.kill()
    found = second.step("rollback")
    assert found["left_behind"] == [gone.url]
    assert second.statuses() == {1: "stable", 2: "previous"}
    gone.start()
    second.eventually_served([1, 2], stable=1)


def test_a_rollback_loads_a_previous_version_that_no_server_has(second: Site) -> None:
    second.step("run", "--latency-floor-ms=10000")
    for replica in second.replicas:
        replica.config.unlink()
        replica.config.write_text("model_config_list {}\n")
    eventually(lambda: not any(replica.available() for replica in second.replicas), "nothing is loaded")
    folder = second.target.removeprefix("local:")
    for replica in second.replicas:
        replica.config.unlink()
        replica.config.symlink_to(f"{folder}/models.config")
    second.step("rollback")
    assert second.served() == [([1, 2], 1, None)] * 2


def test_a_previous_version_that_nobody_can_have_keeps_none_away(second: Site) -> None:
    second.step("run", "--latency-floor-ms=10000")
    second.publish(3)
    (second.base / "1").rename(second.base / ".lost")
    # The servers were told of it, but not by us.
    (second.base.parent / "serving" / "aspired.json").unlink()
    second.step("run", "--latency-floor-ms=10000")
    second.eventually_served([2, 3], stable=3)


@pytest.mark.slow
def test_what_was_not_verified_or_was_taken_back_meanwhile_is_not_promoted(second: Site) -> None:
    error = second.step("promote", "--version=2", status=2)["error"]
    assert "is not verified (any more)" in error
    second.step("load", "--version=2")
    assert second.step("promote", "--version=2", status=2)["error"] == error
    second.step("verify", "--version=2", "--golden-tolerance=0", status=2)
    assert second.step("promote", "--version=2", status=2)["error"] == error
    prove(second)
    # `promote` proves the golden examples again, within the limits that it is given.
    assert (
        "as when it was published" in second.step("promote", "--version=2", "--golden-tolerance=0", status=2)["error"]
    )
    second.step("restore")
    assert second.step("promote", "--version=2", status=2)["error"] == error
    assert second.statuses() == {1: "stable", 2: "blessed"}


def test_a_database_that_is_away_stops_a_promotion_before_it_counts(
    second: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    prove(second)

    def away(registry: ModelRegistry, version: int, decision: Decision) -> None:
        raise TransientError("MySQL does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(ModelRegistry, "promote", away)
        second.step("promote", "--version=2", status=1)
    assert second.statuses() == {1: "stable", 2: "blessed"}
    second.step("restore")
    second.eventually_served([1], stable=1)
