"""`sniffer prune`: what may go goes in small batches, what is needed stays, and nothing is lost by an interruption."""

from __future__ import annotations

import itertools
import json
import threading

import pytest
from support.stored_rows import change, failed, predicted, record, rows

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import SettingsError, TransientError
from sniffer.core.records import Outcome, ScanRequest
from sniffer.core.retention_records import Removed
from sniffer.core.settings import DatabaseSettings
from sniffer.retention.prune import main, prune

pytestmark = pytest.mark.both_servers


@pytest.fixture
def three_images(database: Database, database_url: str) -> Database:
    """`old` was scored a year ago by version 1, `both` then and today by version 2, `new` today by version 2."""
    record(database, [predicted("old"), predicted("both")])
    change(database_url, "UPDATE predictions SET scored_at = NOW(6) - INTERVAL 366 DAY")
    record(database, [predicted("both"), predicted("new")], scan_id="t", model_version=2)
    change(database_url, "DELETE FROM leases")
    return database


def left(database_url: str) -> set[tuple[object, ...]]:
    query = "SELECT i.key_text, p.model_version FROM images i LEFT JOIN predictions p ON p.image_id = i.image_id"
    return set(rows(database_url, query))


@pytest.mark.parametrize("batch_rows", [1, 2, 1000])
def test_old_results_go_and_an_image_with_its_last_one(
    three_images: Database, database_url: str, batch_rows: int
) -> None:
    removed = prune(three_images, older_than_days=365, model_versions=[], batch_rows=batch_rows)
    assert removed == Removed(predictions=2, images=1)
    assert left(database_url) == {("both", 2), ("new", 2)}
    assert prune(three_images, older_than_days=365, model_versions=[]) == Removed()


def test_results_of_a_version_go_whatever_their_age(three_images: Database, database_url: str) -> None:
    assert prune(three_images, older_than_days=None, model_versions=[2]) == Removed(predictions=2, images=1)
    assert left(database_url) == {("old", 1), ("both", 1)}


def test_both_rules_are_both_kept(three_images: Database, database_url: str) -> None:
    assert prune(three_images, older_than_days=365, model_versions=[2]) == Removed()
    assert prune(three_images, older_than_days=367, model_versions=[1]) == Removed()
    assert len(left(database_url)) == 4


def test_a_dry_run_counts_what_would_go(three_images: Database, database_url: str) -> None:
    would = prune(three_images, older_than_days=365, model_versions=[], dry_run=True)
    assert len(left(database_url)) == 4
    assert would == prune(three_images, older_than_days=365, model_versions=[])


def test_what_production_needs_goes_by_age_only(three_images: Database, database_url: str) -> None:
    three_images.models.promote(1)
    three_images.models.promote(2)
    for version, status in ((1, "previous"), (2, "stable")):
        with pytest.raises(SettingsError, match=f"--model-version: {version} is the {status} version; .*by age only"):
            prune(three_images, older_than_days=None, model_versions=[version])
    assert prune(three_images, older_than_days=365, model_versions=[1]) == Removed(2, 1)
    with pytest.raises(SettingsError, match="say what may go: --older-than-days, --model-version, or both"):
        prune(three_images, older_than_days=None, model_versions=[])


def test_what_cannot_be_meant_is_refused(three_images: Database) -> None:
    with pytest.raises(SettingsError, match="there is no version 7, 8 in the table `models`"):
        prune(three_images, older_than_days=1, model_versions=[1, 7, 8])
    for days in (10**6, 10**12):
        with pytest.raises(SettingsError, match="--older-than-days: there was no such day"):
            prune(three_images, older_than_days=days, model_versions=[])


def test_a_scan_that_was_killed_is_waited_for_a_while_and_not_for_ever(
    three_images: Database, database_url: str
) -> None:
    record(three_images, [predicted("more")], scan_id="killed", model_version=1)
    change(database_url, "UPDATE leases SET lease_until = UTC_TIMESTAMP(6) - INTERVAL 1 MINUTE")
    with pytest.raises(TransientError, match="scan killed is running"):
        prune(three_images, older_than_days=365, model_versions=[])
    change(database_url, "UPDATE leases SET lease_until = UTC_TIMESTAMP(6) - INTERVAL 10 MINUTE")
    assert prune(three_images, older_than_days=365, model_versions=[]) == Removed(2, 1)


def test_a_running_scan_refuses_it(three_images: Database, database_url: str) -> None:
    beginning = record(three_images, [predicted("more")], scan_id="u", model_version=1)
    assert beginning == [Outcome.PREDICTED]
    with pytest.raises(TransientError, match="scan u is running"):
        prune(three_images, older_than_days=365, model_versions=[])
    assert len(left(database_url)) == 5
    assert prune(three_images, older_than_days=None, model_versions=[2]) == Removed(2, 1), "no scan asks version 2"


def test_an_image_that_is_stored_meanwhile_is_never_left_without_its_row(database: Database, database_url: str) -> None:
    keys = [f"k{number}" for number in range(20)]
    record(database, [predicted(key) for key in keys], model_version=1)
    token = database.scans.open(ScanRequest("t", "bkt"), 2, 0.5)
    change(database_url, "DELETE FROM leases")
    ended = threading.Event()

    def write() -> None:
        with Database(DatabaseSettings(database_url)) as other:
            for turn in itertools.count():
                other.images.record(
                    [predicted(key) if turn % 2 else failed(key) for key in keys],
                    model_version=2 + turn % 5,
                    token=token,
                    decoder_version=1,
                )
                if ended.is_set():
                    return

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(15):
        prune(database, older_than_days=None, model_versions=[1, 2, 3, 4, 5, 6], batch_rows=3)
    ended.set()
    writer.join()
    lost = "SELECT COUNT(*) FROM predictions p LEFT JOIN images i ON i.image_id = p.image_id WHERE i.image_id IS NULL"
    assert rows(database_url, lost) == [(0,)]
    assert rows(database_url, "SELECT COUNT(*) FROM images") == [(20,)], "each was stored once more at the end"


@pytest.mark.usefixtures("three_images")
def test_the_program_says_what_is_gone(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SNIFFER_DATABASE_URL", database_url)
    assert main(["--older-than-days", "365", "--dry-run"]) == 0
    assert "2 results, and 1 images that had no other, would go" in capsys.readouterr().out
    assert main(["--older-than-days=365", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"predictions": 2, "images": 1}
    assert main([]) == 2
    assert "say what may go" in capsys.readouterr().err
