"""A scan's lease: kept while its process lives, waited out when it was killed, refused while it is renewed."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from datetime import UTC, datetime, timedelta

import pytest

from sniffer.core.errors import IncompleteScan, ScanInUse, SupersededRun, TransientError
from sniffer.core.records import FencingToken, Lease
from sniffer.scan.lease import DYING_S, LeaseKeeper, new_holder, wait_for_lease

TOKEN = FencingToken(1, 2)
WHEN = datetime(2026, 11, 20, tzinfo=UTC)


class Later(Executor):
    """Work whose end the test decides."""

    def __init__(self) -> None:
        self.futures: list[Future[None]] = []

    def submit(self, *_: object, **__: object) -> Future[None]:  # type: ignore[override]
        self.futures.append(Future())
        return self.futures[-1]


def test_a_lease_is_renewed_in_time_one_renewal_after_the_other() -> None:
    executor, now = Later(), [0.0]
    keeper = LeaseKeeper(lambda _token, _lease_s: None, executor, 30.0, lambda: now[0])
    for moment in range(21):
        now[0] = float(moment)
        keeper.keep(TOKEN)
    assert len(executor.futures) == 1, "the first is still under way"
    executor.futures[0].set_result(None)
    keeper.keep(TOKEN)
    assert len(executor.futures) == 2


def test_a_mysql_that_is_away_ends_nothing_and_a_newer_run_does(caplog: pytest.LogCaptureFixture) -> None:
    executor, now = Later(), [10.0]
    keeper = LeaseKeeper(lambda _token, _lease_s: None, executor, 30.0, lambda: now[0])
    now[0] = 20.0
    keeper.keep(TOKEN)
    executor.futures[0].set_exception(TransientError("MySQL is away"))
    now[0] = 30.0
    keeper.keep(TOKEN)
    assert "could not be renewed: MySQL is away" in caplog.text
    executor.futures[1].set_exception(SupersededRun("run 2 has been superseded"))
    with pytest.raises(SupersededRun):
        keeper.keep(TOKEN)


class Claims:
    """Answers of a database, in turn: leases that hold, then the right to begin."""

    def __init__(self, *leases: Lease) -> None:
        self.leases = list(leases)
        self.slept = 0

    def claim(self) -> FencingToken:
        if self.leases:
            raise ScanInUse(self.leases.pop(0))
        return TOKEN

    def sleep(self, _seconds: float) -> None:
        self.slept += 1


def lease(until_s: float) -> Lease:
    return Lease("scan-1", "other, process 7", WHEN + timedelta(seconds=until_s), 5.0)


def test_the_lease_of_a_run_that_was_killed_is_waited_out(caplog: pytest.LogCaptureFixture) -> None:
    claims = Claims(*[lease(30.0)] * 4)
    with caplog.at_level("INFO"):
        assert wait_for_lease(claims.claim, claims.sleep, lambda: False) == TOKEN
    assert claims.slept == 4
    assert caplog.text.count("scan scan-1 is held by other, process 7: waiting 5 s") == 1


def test_a_lease_that_is_renewed_again_and_again_is_a_living_scan_s() -> None:
    claims = Claims(*[lease(30.0 + second) for second in range(60)])
    with pytest.raises(ScanInUse, match="held by other, process 7, which is at work: wait until it has ended, or stop"):
        wait_for_lease(claims.claim, claims.sleep, lambda: False)
    assert claims.slept * 0.5 == pytest.approx(DYING_S, abs=1.0)


def test_the_last_renewal_of_a_run_that_is_dying_is_no_sign_of_life() -> None:
    # Its parent was killed and Airflow tries again at once, while it says goodbye to its consumers.
    claims = Claims(lease(30.0), lease(30.0), *[lease(35.0)] * 60)
    assert wait_for_lease(claims.claim, claims.sleep, lambda: False) == TOKEN


def test_who_is_told_to_stop_waits_no_longer() -> None:
    claims = Claims(*[lease(30.0)] * 4)
    with pytest.raises(IncompleteScan, match="stopped before it began: scan scan-1 is held by other"):
        wait_for_lease(claims.claim, claims.sleep, lambda: claims.slept > 0)


def test_no_two_holders_have_the_same_name() -> None:
    assert len({new_holder() for _ in range(100)}) == 100
