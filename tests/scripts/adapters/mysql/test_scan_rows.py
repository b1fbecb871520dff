"""Scans and their certificates in a real MariaDB."""

from __future__ import annotations

import dataclasses

import pytest
from support.ended_scans import certificate_of
from support.many_rows import counted_reads
from support.stored_rows import WHEN, change

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import ContractError
from sniffer.core.key_ranges import ALL_KEYS, KeyRange
from sniffer.core.recorded_scan import RecordedScan
from sniffer.core.records import Certificate, FailureSample, Outcome, ScanRequest

pytestmark = pytest.mark.both_servers


def ended(scan_id: str, scored: int, reused: int = 0) -> Certificate:
    return certificate_of({Outcome.PREDICTED: scored, Outcome.REUSED: reused}, scan_id=scan_id)


def rewind(database_url: str, scan_id: str, days: float) -> None:
    """That scan was begun, and ended if it has, so long ago."""
    earlier = f"INTERVAL {round(days * 86400)} SECOND"
    moved = f"started_at = started_at - {earlier}, finished_at = finished_at - {earlier}"
    change(database_url, f"UPDATE scans SET {moved} WHERE scan_id = '{scan_id}'")


def test_a_certificate_comes_back_as_it_went(database: Database) -> None:
    request = ScanRequest("scan-1", "bkt", "p/", since=WHEN)
    token = database.scans.open(request, 1, 0.5)
    assert database.scans.certificate("scan-1") is None
    certificate = Certificate(
        scan_id="scan-1",
        bucket="bkt",
        prefix="p/",
        since=WHEN,
        until=None,
        limited=False,
        listing_digest="0" * 64,
        listed=3,
        outcomes=dict.fromkeys(Outcome, 0) | {Outcome.PREDICTED: 2, Outcome.GONE: 1},
        flagged=1,
        model_version=1,
        model_digest="d" * 64,
        preprocessing_version="p1",
        threshold=0.5,
        duration_s=1.5,
        images_per_s=2.0,
        failure_samples=(FailureSample("k 😀", Outcome.GONE, "deleted", "no longer there"),),
        problems=(),
        run_number=token.run_number,
        codes={"deleted": 1},
    )
    database.scans.close(certificate)
    assert database.scans.certificate("scan-1") == certificate
    with pytest.raises(ContractError, match=r"s3://bkt/p/"):
        database.scans.open(ScanRequest("scan-1", "other"), 1, 0.5)


def test_the_scans_of_a_run_are_found_by_its_name_among_many(database: Database) -> None:
    others = [f"scan_b.scheduled__{day:02}.pics-1" for day in range(60)]
    for scan_id in (*others, "scan_a.r_1.pics-1", "scan_a.r_1.pics-1.2", "scan_a.r_10.pics-1", "scan_a.rx1.pics-1"):
        database.scans.open(ScanRequest(scan_id, "pics"), 1, 0.5)
    database.scans.close(ended("scan_a.r_1.pics-1", scored=3))
    with counted_reads() as reads:
        found = database.scans.of_run("scan_a.r_1")
    assert found == (
        RecordedScan("scan_a.r_1.pics-1", "complete", is_certified=True, listed=3),
        RecordedScan("scan_a.r_1.pics-1.2", "running"),
    )
    assert reads.rows <= 12, reads.plans  # by the index of the names
    assert database.scans.of_run("%") == ()


def test_of_many_shards_a_summary_reads_the_whole_and_no_certificate(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranges = [KeyRange(f"{number:03}" if number else "", f"{number + 1:03}") for number in range(299)]
    whole = ScanRequest("scan_a.r.pics-1", "pics")
    parts = database.shards.plan(whole, 1, 0.5, [(one, 1) for one in (*ranges, KeyRange("299"))]).parts
    monkeypatch.setattr(Certificate, "parse", None)
    assert database.scans.of_run("scan_a.r") == (RecordedScan("scan_a.r.pics-1", "running"),)
    for part, problems in zip(parts[:6], ((), ("a", "b", "c", "d"), ("e",), (), ("f",), ("g",)), strict=True):
        token = database.scans.open(dataclasses.replace(whole, scan_id=part.scan_id, key_range=part.key_range), 1, 0.5)
        done = certificate_of({Outcome.FAILED: 1}, scan_id=part.scan_id, run_number=token.run_number, problems=problems)
        database.scans.close(done)
    [found] = database.scans.of_run("scan_a.r")
    assert found.shard_states == {"complete", "incomplete"} and not found.is_certified
    assert found.problems == ("a", "b", "c", "e", "f")
    monkeypatch.undo()
    small = dataclasses.replace(whole, scan_id="scan_a.s.pics-1")
    [part] = database.shards.plan(small, 1, 0.5, [(ALL_KEYS, 1)]).parts
    token = database.scans.open(dataclasses.replace(small, scan_id=part.scan_id), 1, 0.5)
    database.scans.close(certificate_of({}, scan_id=part.scan_id, run_number=token.run_number))
    done = certificate_of({Outcome.PREDICTED: 9}, scan_id=small.scan_id, flagged_new=2, problems=("all in all",))
    database.shards.certify(small.scan_id, lambda *_: done)
    monkeypatch.setattr(Certificate, "parse", None)
    [found] = database.scans.of_run("scan_a.s")
    assert (found.is_certified, found.listed, found.flagged_new, found.problems) == (True, 9, 2, ("all in all",))


def test_living_scans_pin_their_versions_and_dead_ones_only_for_minutes(database: Database, database_url: str) -> None:
    assert database.scans.running_versions() == set()
    database.scans.open(ScanRequest("scan-1", "bkt"), 1, 0.5)
    database.scans.open(ScanRequest("scan-2", "bkt"), 2, 0.5)
    assert database.scans.running_versions() == {1, 2}
    database.scans.close(ended("scan-1", 3))
    assert database.scans.running_versions() == {2}
    # MySQL may have been away, so that nobody could renew a lease.
    change(database_url, "UPDATE leases SET lease_until = UTC_TIMESTAMP(6) - INTERVAL 4 MINUTE")
    assert database.scans.running_versions() == {2}
    change(database_url, "UPDATE leases SET lease_until = UTC_TIMESTAMP(6) - INTERVAL 6 MINUTE")
    assert database.scans.running_versions() == set()


def test_images_a_day_are_those_that_got_a_score_over_the_days_with_scans(
    database: Database, database_url: str
) -> None:
    assert database.scans.images_per_day() is None
    for number, days in enumerate((8, 2, 1, 0)):
        database.scans.open(ScanRequest(f"scan-{number}", "bkt"), 1, 0.5)
        database.scans.close(ended(f"scan-{number}", 100 * (number + 1), reused=50))
        rewind(database_url, f"scan-{number}", days)
    # The one of eight days ago is too old; the others stand for three days.
    assert database.scans.images_per_day() == pytest.approx((250 + 350 + 450) / 3, rel=0.01)


def test_a_scans_id_is_of_one_range_of_keys_from_its_first_start(database: Database, database_url: str) -> None:
    shard = ScanRequest("s", "bkt", key_range=KeyRange("a", "m"))
    database.scans.open(shard, 1, 0.5)
    assert database.scans.open(shard, 1, 0.5).run_number == 2
    for other in (KeyRange("m"), KeyRange()):
        with pytest.raises(ContractError, match=r"is of the keys \('a', 'm'\], not .*give it the same --after"):
            database.scans.open(ScanRequest("s", "bkt", key_range=other), 1, 0.5)
    change(database_url, "UPDATE scans SET request = JSON_REMOVE(request, '$.key_range')")  # as an older release did
    with pytest.raises(ContractError, match="is of the keys"):
        database.scans.open(shard, 1, 0.5)
    assert database.scans.open(ScanRequest("s", "bkt"), 1, 0.5).run_number == 3
