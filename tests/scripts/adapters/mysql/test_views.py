"""What reviewers read: the present in one view, the past in another, and what could not be read in a third."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest
from support.stored_rows import WHEN, change, listed, predicted, record, rows

from sniffer.adapters.mysql.database import Database
from sniffer.core.records import Outcome, Result

pytestmark = pytest.mark.both_servers

FLAGGED = "SELECT object_key, score FROM flagged_images ORDER BY object_key"
HISTORY = "SELECT object_key, model_version, score FROM flagged_history ORDER BY object_key, score"


@pytest.fixture(autouse=True)
def stable(database: Database) -> None:
    database.models.promote(1)


def version_of(key: str, score: float, later_s: float, bucket: str = "bkt") -> Result:
    image = dataclasses.replace(
        listed(key, etag=f"e{later_s}", bucket=bucket), last_modified=WHEN + timedelta(seconds=later_s)
    )
    return dataclasses.replace(predicted(key, score, f"{key}{later_s}".encode()), image=image)


def gone(result: Result) -> Result:
    return Result(result.image, Outcome.GONE, error_code="deleted", error_message="no such key")


def test_the_newest_version_of_an_object_counts_however_it_was_stored(database: Database, database_url: str) -> None:
    record(database, [version_of("better", 0.2, 2), version_of("worse", 0.9, 2)])
    record(database, [version_of("better", 0.9, 1), version_of("worse", 0.2, 1)])
    assert rows(database_url, FLAGGED) == [("worse", 0.9)]
    assert rows(database_url, HISTORY) == [("better", 1, 0.9), ("worse", 1, 0.9)]


def test_of_versions_of_the_same_second_the_one_stored_last_counts(database: Database, database_url: str) -> None:
    one, other = version_of("a", 0.8, 1), version_of("a", 0.9, 1)
    other = dataclasses.replace(other, image=dataclasses.replace(other.image, etag="other"))
    record(database, [one])
    record(database, [other])
    assert rows(database_url, FLAGGED) == [("a", 0.9)]


def test_keys_that_only_look_alike_are_objects_of_their_own(database: Database, database_url: str) -> None:
    keys = ["a", "a ", "A", "\u00e9", "e\u0301"]
    for number, key in enumerate(keys):
        record(database, [version_of(key, 0.9, number), version_of(key, 0.9, number, bucket="other")])
    assert len(rows(database_url, FLAGGED)) == 2 * len(keys)


def test_an_object_whose_newest_version_has_no_score_is_not_flagged(database: Database, database_url: str) -> None:
    record(database, [version_of("a", 0.9, 1)])
    newer = version_of("a", 0.0, 2)
    record(database, [Result(newer.image, Outcome.UNREADABLE, error_code="corrupt", error_message="damaged")])
    assert rows(database_url, FLAGGED) == []
    assert rows(database_url, HISTORY) == [("a", 1, 0.9)]


def test_an_object_that_was_found_deleted_leaves_the_present(database: Database, database_url: str) -> None:
    image = version_of("a", 0.9, 1)
    record(database, [image], scan_id="nightly")
    record(database, [gone(image)], scan_id="by the next model", model_version=2)
    assert rows(database_url, FLAGGED) == []
    assert rows(database_url, HISTORY) == [("a", 1, 0.9)]
    # It is there again, under the same identity: a delete marker was removed.
    record(database, [image], scan_id="rescan", rescan=True)
    assert rows(database_url, FLAGGED) == [("a", 0.9)]


def test_a_deletion_that_a_rescan_finds_ends_both(database: Database, database_url: str) -> None:
    image = version_of("a", 0.9, 1)
    record(database, [image], scan_id="nightly")
    record(database, [gone(image)], scan_id="rescan", rescan=True)
    assert rows(database_url, FLAGGED) == rows(database_url, HISTORY) == []


def test_the_present_is_the_stable_model_s_and_the_past_everybody_s(database: Database, database_url: str) -> None:
    record(database, [version_of("a", 0.9, 1)], model_version=1)
    record(database, [version_of("a", 0.6, 1), version_of("b", 0.7, 1)], model_version=2)
    assert rows(database_url, FLAGGED) == [("a", 0.9)]
    assert rows(database_url, HISTORY) == [("a", 2, 0.6), ("a", 1, 0.9), ("b", 2, 0.7)]
    database.models.promote(2)
    assert rows(database_url, FLAGGED) == [("a", 0.6), ("b", 0.7)]
    change(database_url, "UPDATE models SET threshold = 0.65 WHERE version = 2")
    assert rows(database_url, FLAGGED) == [("b", 0.7)]


def test_without_a_stable_model_nothing_is_flagged(database: Database, database_url: str) -> None:
    record(database, [version_of("a", 0.9, 1)])
    change(database_url, "UPDATE models SET production = NULL")
    assert rows(database_url, FLAGGED) == []


def test_a_view_tells_the_scan_and_the_rendering(database: Database, database_url: str) -> None:
    record(database, [dataclasses.replace(version_of("a", 0.9, 1), rendering="frame 12")], scan_id="nightly")
    assert rows(database_url, "SELECT scan_id, rendering, threshold FROM flagged_images") == [
        ("nightly", "frame 12", 0.5)
    ]


def test_what_could_not_be_read_has_a_view(database: Database, database_url: str) -> None:
    broken = Result(listed("a"), Outcome.UNREADABLE, error_code="corrupt", error_message="damaged")
    record(database, [broken, predicted("b", 0.9)])
    assert rows(database_url, "SELECT object_key, error_code FROM unreadable_images") == [("a", "corrupt")]
