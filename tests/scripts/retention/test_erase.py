"""`sniffer erase`: nothing of a key is left but the record that it was erased, and its neighbours lose nothing."""

from __future__ import annotations

import dataclasses
import json

import pytest
from support.ended_scans import certificate_of
from support.stored_rows import change, failed, listed, predicted, record, rows

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.mysql.retention import target_digest
from sniffer.core.errors import TransientError
from sniffer.core.key_ranges import KeyRange
from sniffer.core.records import Certificate, Outcome, ScanRequest
from sniffer.core.retention_records import Erasure, Removed
from sniffer.retention.erase import erase, main

pytestmark = pytest.mark.both_servers

KEYS = (
    "users/47/a.jpg",
    "users/47/b.jpg",
    "users/4711.jpg",
    "users/47_/a.jpg",
    "users/47",
    "USERS/47/a.jpg",
    "ü/%_\\x",
)


def end(database: Database, *results: str, warnings: tuple[str, ...] = ()) -> None:
    """A scan of the bucket in which these keys failed, with its certificate."""
    token = database.scans.open(ScanRequest("s", "bkt"), 1, 0.5)
    record(database, [failed(key) for key in results], token=token)
    samples = database.scans.failure_samples(token, 1, 100)
    ended = certificate_of({Outcome.FAILED: len(results)}, run_number=token.run_number, warnings=warnings)
    database.scans.close(dataclasses.replace(ended, failure_samples=samples))


def certificate(database: Database) -> Certificate:
    found = database.scans.certificate("s")
    assert found is not None
    return found


def keys_left(database_url: str) -> list[str]:
    return sorted(str(row[0]) for row in rows(database_url, "SELECT key_text FROM images"))


def erase_by_me(database: Database, *, key: str | None = None, prefix: str = "", batch_rows: int = 1000) -> Erasure:
    return erase(
        database, "bkt", key=key, prefix=prefix, requested_by="J. Doe", reason="ticket 812", batch_rows=batch_rows
    )


@pytest.mark.parametrize("key", KEYS)
def test_a_key_goes_with_all_its_versions_and_no_other(database: Database, database_url: str, key: str) -> None:
    record(database, [predicted(each, etag=etag) for each in KEYS for etag in ("e1", "e2")])
    record(database, [predicted(key)], scan_id="t", model_version=2)
    change(database_url, "DELETE FROM leases")
    erasure = erase_by_me(database, key=key)
    assert erasure.removed == Removed(predictions=3, images=2)
    assert keys_left(database_url) == sorted([each for each in KEYS if each != key] * 2)
    assert rows(database_url, "SELECT COUNT(*) FROM predictions") == [(2 * len(KEYS) - 2,)]
    begun = Erasure("bkt", "key", target_digest(key), "J. Doe", "ticket 812")
    ended = dataclasses.replace(begun, removed=Removed(3, 2), certificates=0, copies=0)
    assert database.retention.erasures("bkt") == [begun, ended]


@pytest.mark.parametrize(
    "prefix, gone",
    [
        ("users/47/", {"users/47/a.jpg", "users/47/b.jpg"}),
        ("users/47", {"users/47/a.jpg", "users/47/b.jpg", "users/4711.jpg", "users/47_/a.jpg", "users/47"}),
        ("users/47_", {"users/47_/a.jpg"}),
        ("ü/%_\\", {"ü/%_\\x"}),
        ("%", set()),
        ("", set(KEYS)),
    ],
)
def test_a_prefix_is_taken_literally(database: Database, database_url: str, prefix: str, gone: set[str]) -> None:
    end(database, *KEYS)
    record(
        database,
        [dataclasses.replace(failed("users/47/a.jpg"), image=listed("users/47/a.jpg", bucket="other"))],
        scan_id="t",
    )
    change(database_url, "DELETE FROM leases")
    assert database.retention.count_keys("bkt", None, prefix) == len(gone)
    erasure = erase_by_me(database, prefix=prefix, batch_rows=2)
    assert erasure.removed == Removed(len(gone), len(gone))
    assert keys_left(database_url) == sorted([*(set(KEYS) - gone), "users/47/a.jpg"])
    named = {sample.key for sample in certificate(database).failure_samples}
    assert named == set(KEYS) - gone | ({"(erased)"} if gone else set())


def test_certificates_name_the_key_no_more_and_count_as_before(database: Database) -> None:
    key = "users/\n47/a.jpg"
    end(database, key, "kept", warnings=(f"look at {key}", "look at users/\\n47/a.jpg, and at kept"))
    before = certificate(database)
    assert erase_by_me(database, key=key).certificates == 1
    after = certificate(database)
    assert "47" not in json.dumps(after.document(), default=str)
    assert after.warnings == ("look at (erased)", "look at (erased), and at kept")
    kept = dataclasses.replace(after, failure_samples=before.failure_samples, warnings=before.warnings)
    assert kept == before
    assert erase_by_me(database, key=key).certificates == 0, "a second time finds nothing"


def test_a_key_that_is_written_as_the_end_of_a_range_is_found_in_words(database: Database) -> None:
    key = 'users\\47/it\'s "a".jpg'
    end(database, "kept", warnings=(f"keys {KeyRange('a', key)}: 1 failed", f"keys {KeyRange(key)}: none"))
    assert erase_by_me(database, key=key).certificates == 1
    assert certificate(database).warnings == ("keys ('a', '(erased)']: 1 failed", "keys ('(erased)', end]: none")


def test_a_running_scan_of_the_bucket_is_waited_for(database: Database, database_url: str) -> None:
    record(database, [predicted("a")])
    with pytest.raises(TransientError, match="scan s is running"):
        erase_by_me(database, key="a")
    assert keys_left(database_url) == ["a"]
    assert database.retention.erasures("bkt") == []


def test_one_that_is_interrupted_has_its_record_and_is_taken_up(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    end(database, *KEYS)
    kept = database.retention.record

    def dies_at_the_end(erasure: Erasure) -> None:
        if erasure.removed is not None:
            raise KeyboardInterrupt
        kept(erasure)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(database.retention, "record", dies_at_the_end)
        erase_by_me(database)
    assert keys_left(database_url) == []
    assert [one.removed for one in database.retention.erasures("bkt")] == [None]
    assert erase_by_me(database).removed == Removed()
    assert [one.removed for one in database.retention.erasures("bkt")] == [None, None, Removed()]


def test_the_program_asks_for_who_and_why_and_for_what(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    end(database, "a", "b")
    monkeypatch.setenv("SNIFFER_DATABASE_URL", database_url)
    for flags, message in (
        ([], "either --key or --prefix"),
        (["--key=a", "--prefix=a"], "either --key or --prefix"),
        (["--key="], "--key is empty"),
        (["--key=\udc80"], "no UTF-8"),
        (["--prefix="], "--whole-bucket and an empty --prefix belong together"),
        (["--key=a"], "--requested-by is needed"),
        (["--key=a", "--requested-by=me", "--reason= "], "--reason is needed"),
        (["--key=a", "--requested-by=me", f"--reason={'x' * 2001}"], "--reason has 2,001 characters: at most 2,000"),
    ):
        assert main(["--bucket=bkt", *flags]) == 2
        assert message in capsys.readouterr().err
    assert main(["--bucket=bkt", "--prefix=", "--whole-bucket", "--dry-run"]) == 0
    assert "the rows of 2 images would go" in capsys.readouterr().out
    assert keys_left(database_url) == ["a", "b"]
    assert main(["--bucket=bkt", "--key=a", "--requested-by=me", "--reason=ticket 1"]) == 0
    assert "s3://bkt/a: erased 1 images, 1 results, and its keys in 1 certificates" in capsys.readouterr().out
    assert keys_left(database_url) == ["b"]
    assert main(["--bucket=bkt", "--key=never", "--requested-by=me", "--reason=ticket 2"]) == 0
    assert "MySQL had no row of it" in capsys.readouterr().err
