"""Images and predictions in a real MariaDB: rows are asserted, not calls."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from datetime import timedelta

import pytest
from support.stored_rows import WHEN, change, failed, listed, predicted, record, rows

from sniffer.adapters.images import DECODER_VERSION
from sniffer.adapters.mysql.database import Database
from sniffer.core.records import Outcome, Result, ScanRequest, Score, StoredOutcome
from sniffer.core.settings import DatabaseSettings

pytestmark = pytest.mark.both_servers

AWKWARD_KEYS = [
    "a b.jpg",
    "emoji 😀.jpg",
    "pct%20.jpg",
    "plus+.jpg",
    "quote'\".jpg",
    "folder/",
    "Case.jpg",
    "case.jpg",
    "trailing ",
    "trailing",
    "é.jpg",
    "e\u0301.jpg",
    "ß.jpg",
    "ss.jpg",
    "k" * 1024,
    "k" * 1023 + "l",
    "😀" * 256,
]


def test_every_awkward_key_is_a_row_of_its_own(database: Database, database_url: str) -> None:
    outcomes = record(database, [predicted(key) for key in AWKWARD_KEYS], model_version=1, scan_id="s")
    assert outcomes == [Outcome.PREDICTED] * len(AWKWARD_KEYS)
    stored = {row[0] for row in rows(database_url, "SELECT object_key FROM images")}
    assert stored == {key.encode() for key in AWKWARD_KEYS}
    assert database.images.settled([listed(key).identity for key in AWKWARD_KEYS], 1, DECODER_VERSION).keys() == {
        listed(key).identity for key in AWKWARD_KEYS
    }


def test_recording_twice_doubles_nothing_and_keeps_the_first(database: Database, database_url: str) -> None:
    assert (
        record(database, [predicted("a", 0.1), predicted("b", 0.2)], model_version=1, scan_id="s")
        == [Outcome.PREDICTED] * 2
    )
    assert (
        record(database, [predicted("b", 0.9), predicted("c", 0.3)], model_version=1, scan_id="s")
        == [Outcome.PREDICTED] * 2
    )
    assert rows(database_url, "SELECT score FROM predictions ORDER BY score") == [(0.1,), (0.2,), (0.3,)]


def test_what_another_scan_stored_first_counts_as_unchanged(database: Database, database_url: str) -> None:
    record(database, [predicted("a", 0.1)], model_version=1, scan_id="first")
    assert record(database, [predicted("a", 0.9)], model_version=1, scan_id="second") == [Outcome.UNCHANGED]
    assert rows(database_url, "SELECT scan_id, score FROM predictions JOIN scans ON number = scan_number") == [
        ("first", 0.1)
    ]


def test_what_other_scans_have_seen_counts_whatever_became_of_it(database: Database) -> None:
    record(database, [predicted("a"), failed("b")], model_version=1, scan_id="first")
    record(database, [predicted("c")], model_version=2, scan_id="second")
    identities = {key: listed(key).identity for key in "abcd"}
    asked = list(identities.values())
    assert database.images.seen_by_others(asked, "third") == {identities[key] for key in "abc"}
    assert database.images.seen_by_others(asked, "first") == {identities["c"]}
    assert database.images.seen_by_others([], "first") == set()


def test_a_failure_is_replaced_by_a_result_but_never_the_other_way(database: Database, database_url: str) -> None:
    record(database, [failed("a")], model_version=1, scan_id="s")
    assert database.images.settled([listed("a").identity], 1, DECODER_VERSION) == {}
    assert record(database, [predicted("a")], model_version=1, scan_id="s") == [Outcome.PREDICTED]
    assert record(database, [failed("a")], model_version=1, scan_id="s") == [Outcome.PREDICTED]
    assert rows(database_url, "SELECT outcome, error_code FROM predictions") == [("predicted", None)]


def test_a_rescan_overwrites_once_and_resumes(database: Database, database_url: str) -> None:
    record(database, [predicted("a", 0.1)], model_version=1, scan_id="old")
    identities = [listed("a").identity]
    assert database.images.settled(identities, 1, DECODER_VERSION, scan_id="new") == {}
    assert record(database, [predicted("a", 0.7)], model_version=1, scan_id="new", rescan=True) == [Outcome.PREDICTED]
    assert record(database, [predicted("a", 0.9)], model_version=1, scan_id="new", rescan=True) == [Outcome.PREDICTED]
    assert database.images.settled(identities, 1, DECODER_VERSION, scan_id="new") == {identities[0]: 0.7}
    assert rows(database_url, "SELECT scan_id, score FROM predictions JOIN scans ON number = scan_number") == [
        ("new", 0.7)
    ]


def test_results_belong_to_a_model_version_and_to_an_etag(database: Database) -> None:
    record(database, [predicted("a")], model_version=1, scan_id="s")
    assert database.images.settled([listed("a").identity], 2, DECODER_VERSION) == {}
    assert database.images.settled([listed("a", etag="e2").identity], 1, DECODER_VERSION) == {}


def test_scores_are_found_again_by_content_and_only_for_bytes_the_model_saw(database: Database) -> None:
    record(database, [predicted("a", 0.25, b"same")], model_version=1, scan_id="s")
    same = hashlib.sha256(b"same").digest()
    record(database, [Result(listed("b"), Outcome.REUSED, 0.25, same)], model_version=1, scan_id="s")
    assert database.images.scored_bytes([same, b"?" * 32], 1) == {same: Score(0.25)}
    assert database.images.scored_bytes([same], 2) == {}


def test_scores_found_by_content_tell_their_rendering(database: Database) -> None:
    in_frame = dataclasses.replace(predicted("a", 0.9, b"same"), rendering="frame 12, partial")
    record(database, [in_frame], model_version=1, scan_id="s")
    same = hashlib.sha256(b"same").digest()
    assert database.images.scored_bytes([same], 1) == {same: Score(0.9, "frame 12, partial")}


def test_concurrent_writers_of_the_same_images_agree(database: Database, database_url: str) -> None:
    keys = [f"k{i}" for i in range(200)]
    counted: dict[str, list[Outcome]] = {}

    def write(scan_id: str, order: int) -> None:
        with Database(DatabaseSettings(database_url, patience_s=30)) as own:
            counted[scan_id] = []
            for start in range(0, len(keys), 20):
                batch = [predicted(key) for key in keys[start : start + 20]][::order]
                counted[scan_id] += record(own, batch, model_version=1, scan_id=scan_id)

    threads = [threading.Thread(target=write, args=(f"s{i}", 1 if i % 2 else -1)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows(database_url, "SELECT COUNT(*) FROM predictions") == [(200,)]
    for scan_id, outcomes in counted.items():
        of_scan = f"SELECT COUNT(*) FROM predictions JOIN scans ON number = scan_number WHERE scan_id = '{scan_id}'"
        ((owned,),) = rows(database_url, of_scan)
        assert outcomes.count(Outcome.PREDICTED) == owned
        assert outcomes.count(Outcome.UNCHANGED) == len(keys) - owned


def test_flagged_images_follow_the_threshold_without_a_rescan(database: Database, database_url: str) -> None:
    database.models.promote(1)
    record(database, [predicted("lo", 0.4), predicted("hi 😀", 0.6)], model_version=1, scan_id="s")
    assert rows(database_url, "SELECT object_key FROM flagged_images") == [("hi 😀",)]
    change(database_url, "UPDATE models SET threshold = 0.3 WHERE version = 1")
    assert len(rows(database_url, "SELECT object_key FROM flagged_images")) == 2
    assert [image.key for image in database.images.top_images(1)] == ["hi 😀", "lo"]


def test_failed_objects_come_back_as_they_were_listed(database: Database) -> None:
    record(database, [failed("p/a"), failed("p/b 😀"), failed("q/c"), predicted("p/d")], model_version=1, scan_id="s")
    pages = list(database.images.failed_objects("bkt", "p/", 1, DECODER_VERSION, page_size=1))
    assert sorted((image for page in pages for image in page), key=lambda i: i.key) == [listed("p/a"), listed("p/b 😀")]


def test_recent_images_are_those_that_any_model_was_asked_about_newest_first(database: Database) -> None:
    for key in "abc":
        record(database, [predicted(key, 0.1)], model_version=1, scan_id="s")
    record(database, [failed("d")], model_version=1, scan_id="s")
    copy = Result(listed("e"), Outcome.REUSED, 0.3, hashlib.sha256(b"c").digest())
    record(database, [copy], model_version=1, scan_id="s")
    record(database, [predicted("f", 0.9), predicted("b", 0.8)], model_version=2, scan_id="s")
    assert database.images.recent_images(2) == [listed("f"), listed("c")]
    assert [image.key for image in database.images.recent_images(9)] == ["f", "c", "b", "a"]
    assert database.images.recent_images(0) == []


def test_an_unreadable_image_is_tried_again_when_a_release_decodes_more(database: Database, database_url: str) -> None:
    image = listed("a")
    broken = Result(image, Outcome.UNREADABLE, error_code="corrupt", error_message="damaged")
    record(database, [broken])
    assert database.images.settled([image.identity], 1, DECODER_VERSION) == {image.identity: None}
    assert database.images.settled([image.identity], 1, DECODER_VERSION + 1) == {}
    change(database_url, "UPDATE predictions SET decoder_version = NULL")
    assert database.images.settled([image.identity], 1, DECODER_VERSION) == {}
    assert record(database, [predicted("a", 0.9)], scan_id="newer") == [Outcome.PREDICTED]
    assert database.images.settled([image.identity], 1, DECODER_VERSION) == {image.identity: 0.9}


def test_a_verdict_on_poison_is_remembered_across_scans(database: Database) -> None:
    image = listed("a")
    poison = Result(image, Outcome.FAILED, error_code="kills_consumers", error_message="it took three down")
    record(database, [poison, failed("b")])
    assert database.images.settled([image.identity], 1, DECODER_VERSION) == {image.identity: None}
    assert retried(database) == ["b"]
    assert database.images.settled([image.identity], 1, DECODER_VERSION + 1) == {}


def test_a_look_up_tells_outcome_and_code(database: Database) -> None:
    archived = Result(listed("a"), Outcome.INACCESSIBLE, error_code="archived", error_message="GLACIER")
    record(database, [archived, predicted("b", 0.3)])
    identities = [listed(key).identity for key in "abc"]
    assert database.images.look_up(identities, 1) == {
        identities[0]: StoredOutcome(Outcome.INACCESSIBLE, "archived", None, None),
        identities[1]: StoredOutcome(Outcome.PREDICTED, "", 0.3, None),
    }
    assert database.images.settled(identities, 1, DECODER_VERSION) == {identities[1]: 0.3}


def test_a_retry_takes_deletions_that_were_never_proven(database: Database, database_url: str) -> None:
    gone = Result(listed("a"), Outcome.GONE, error_code="deleted", error_message="no such key")
    record(database, [gone])
    assert retried(database) == []
    change(database_url, "UPDATE predictions SET run_number = 0")
    assert retried(database) == ["a"]


def test_a_retry_ends_although_everything_fails_again(database: Database) -> None:
    keys = [f"k{number}" for number in range(7)]
    record(database, [failed(key) for key in keys], scan_id="old")
    token = database.scans.open(ScanRequest("retry", "bkt"), 1, 0.5)
    seen = []
    for page in database.images.failed_objects("bkt", "", 1, DECODER_VERSION, scan_id="retry", page_size=2):
        seen += [image.key for image in page]
        record(database, [failed(image.key) for image in page], token=token)
    assert sorted(seen) == keys
    database.scans.open(ScanRequest("retry", "bkt"), 1, 0.5)
    assert retried(database, scan_id="retry") == keys, "a rerun of the retry tries them again"


def retried(database: Database, scan_id: str = "") -> list[str]:
    pages = database.images.failed_objects("bkt", "", 1, DECODER_VERSION, scan_id=scan_id)
    return sorted(image.key for page in pages for image in page)


def test_the_same_bytes_under_a_new_date_are_another_image(database: Database) -> None:
    record(database, [predicted("a", 0.9)])
    later = dataclasses.replace(listed("a"), last_modified=WHEN + timedelta(microseconds=1))
    larger = dataclasses.replace(listed("a"), size_bytes=124)
    moved = dataclasses.replace(listed("a"), storage_class="GLACIER_IR")
    identities = [image.identity for image in (later, larger, moved)]
    assert database.images.settled(identities, 1, DECODER_VERSION) == {moved.identity: 0.9}
    content = hashlib.sha256(b"a").digest()
    assert database.images.scored_bytes([content], 1) == {content: Score(0.9)}
