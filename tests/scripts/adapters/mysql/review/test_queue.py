"""What waits for reviewers: the present, without what was decided, in the order that was asked for."""

from __future__ import annotations

import dataclasses
from datetime import date, timedelta

import pytest
from support.ended_scans import certificate_of
from support.many_rows import counted_reads
from support.reviewed import LEASE_S, decide, flag, item_of, submit, waiting
from support.stored_rows import WHEN, change, listed, predicted, record, rows

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.mysql.review import duplicates
from sniffer.core.flag_records import Deciding
from sniffer.core.records import Outcome, Result, ScanRequest
from sniffer.core.review_records import EVERYTHING, NewDecision, QueueFilter, QueueOrder, ReviewDecision
from sniffer.core.sample_records import NightlySample, SampledImage, SampleStratum
from sniffer.review.web.choosing import QueueAsked, next_batch

pytestmark = pytest.mark.both_servers

NIGHT = date(2026, 11, 20)


def newer_version(key: str, score: float, content: bytes | None = None) -> Result:
    image = dataclasses.replace(listed(key, etag="e2"), last_modified=WHEN + timedelta(hours=1))
    return dataclasses.replace(predicted(key, score, content or b"new" + key.encode()), image=image)


def test_what_is_flagged_waits_by_score_or_by_information(database: Database) -> None:
    flag(database, {"a": 0.6, "b": 0.9, "c": 0.4, "d": 0.5})
    assert waiting(database) == ["b", "a", "d"]
    page = database.review_queue.page(EVERYTHING, "ann", 9, order=QueueOrder.INFORMATION)
    assert [item.key for item in page.items] == ["d", "a", "b"]
    assert database.review_queue.backlog() == 3


def test_pages_follow_one_another_without_gap_or_repeat(database: Database) -> None:
    flag(database, {f"k{number}": 0.5 + (number // 3) / 100 for number in range(20)})
    for order in QueueOrder:
        seen, after = [], None
        while True:
            page = database.review_queue.page(EVERYTHING, "ann", 7, after, order=order)
            seen += [item.key for item in page.items]
            after = page.after
            if after is None:
                break
        assert len(seen) == 20 and len(set(seen)) == 20


def test_filters(database: Database) -> None:
    flag(database, {"u/a": 0.6, "u/b": 0.9, "v/a": 0.7})
    for asked, keys in (
        (QueueFilter(prefix="u/"), ["u/b", "u/a"]),
        (QueueFilter(low=0.65), ["u/b", "v/a"]),
        (QueueFilter(high=0.65), ["u/a"]),
        (QueueFilter(bucket="other"), []),
        (QueueFilter(bucket="bkt", prefix="v"), ["v/a"]),
        (QueueFilter(since=WHEN + timedelta(seconds=1)), []),
        (QueueFilter(since=WHEN, until=WHEN + timedelta(seconds=1)), ["u/b", "v/a", "u/a"]),
        (QueueFilter(until=WHEN), []),
        (QueueFilter(model_version=2), []),
    ):
        assert waiting(database, asked=asked) == keys, asked


def test_what_was_decided_leaves_it_and_comes_back_as_a_new_version(database: Database) -> None:
    flag(database, {"a": 0.6, "b": 0.9})
    decide(database, "b")
    assert waiting(database) == waiting(database, "bob") == ["a"]
    flag(database, {})
    assert waiting(database) == ["a"]
    record(database, [newer_version("b", 0.8)], scan_id="next")
    assert waiting(database) == ["a"]
    database.review_queue.refresh()
    assert waiting(database) == ["b", "a"]


def test_what_was_decided_comes_back_with_other_bytes_under_the_same_identity(
    database: Database, database_url: str
) -> None:
    flag(database, {"a": 0.6})
    decide(database, "a")
    change(database_url, "UPDATE images SET content_hash = REPEAT('x', 32)")
    database.review_queue.refresh()
    assert waiting(database) == ["a"]
    decide(database, "a", ReviewDecision.NOT_DRUG)
    assert waiting(database) == []


def test_a_page_has_only_the_present_however_stale_the_queue_is(database: Database, database_url: str) -> None:
    flag(database, {"replaced": 0.9, "gone": 0.9, "below": 0.55, "stays": 0.9})
    record(database, [newer_version("replaced", 0.1)], scan_id="next")
    gone = Result(listed("gone"), Outcome.GONE, error_code="deleted", error_message="no such key")
    record(database, [gone], scan_id="later", model_version=2)
    change(database_url, "UPDATE models SET threshold = 0.6 WHERE version = 1")
    assert waiting(database) == ["stays"] and database.review_queue.backlog() == 4
    database.review_queue.refresh()
    assert database.review_queue.backlog() == 1
    change(database_url, "UPDATE models SET production = 'previous'")
    assert waiting(database) == []
    database.review_queue.refresh()
    assert database.review_queue.backlog() == 0


def test_what_a_held_scan_flagged_waits_once_it_is_released(database: Database) -> None:
    flag(database, {"a": 0.6})
    token = database.scans.open(ScanRequest("flood", "bkt"), 1, 0.5)
    record(database, [predicted("held", 0.9)], token=token)
    database.scans.close(certificate_of({}, scan_id="flood", run_number=token.run_number, held="a flood"))
    database.review_queue.refresh()
    assert waiting(database) == ["a"]
    database.holds.release(Deciding("flood", "jo", "a test"))
    database.review_queue.refresh()
    assert waiting(database) == ["held", "a"]


def scan(database: Database, scan_id: str, key: str) -> None:
    """A whole scan that flags one image, and ends."""
    token = database.scans.open(ScanRequest(scan_id, "bkt"), 1, 0.5)
    record(database, [predicted(key, 0.9)], token=token)
    database.scans.close(certificate_of({Outcome.PREDICTED: 1}, scan_id=scan_id, run_number=token.run_number))


def test_a_refresh_looks_through_what_is_flagged_when_a_scan_has_run(database: Database) -> None:
    database.models.promote(1)
    scan(database, "one", "a")
    assert database.review_queue.refresh() == 1
    with counted_reads() as idle:
        assert database.review_queue.refresh() == 0
    scan(database, "two", "b")
    with counted_reads() as busy:
        assert database.review_queue.refresh() == 1
    assert len(idle.plans) < len(busy.plans)
    assert waiting(database) == ["b", "a"]


def test_a_new_stable_model_does_not_bring_back_what_was_decided(database: Database) -> None:
    flag(database, {"a": 0.6, "b": 0.9})
    decide(database, "b")
    record(database, [predicted("a", 0.7), predicted("b", 0.8), predicted("c", 0.9)], model_version=2)
    database.models.promote(2)
    database.review_queue.refresh()
    assert waiting(database) == ["c", "a"]


def sample_of(*images: SampledImage) -> NightlySample:
    return NightlySample(NIGHT, 1, (SampleStratum(1, 0.0, 0.5, 10, len(images), len(images) / 10),), images)


def image_id(database_url: str, key: str) -> int:
    return int(str(rows(database_url, f"SELECT image_id FROM images WHERE key_text = '{key}'")[0][0]))


def test_drawn_images_wait_unmarked_among_flagged_ones(database: Database, database_url: str) -> None:
    flag(database, {f"f{number}": 0.7 + number / 1000 for number in range(30)} | {"low": 0.1, "lower": 0.05})
    drawn = [
        SampledImage(image_id(database_url, key), 1, score, 1, 0.2) for key, score in (("low", 0.1), ("lower", 0.05))
    ]
    assert database.review_samples.add(sample_of(*drawn))
    assert not database.review_samples.add(sample_of(*drawn))
    items = database.review_queue.page(EVERYTHING, "ann", 100).items
    assert len(items) == 32
    sample = next(item for item in items if item.key == "low")
    assert (sample.entered_by, sample.probability, sample.score) == ("sample", 0.2, 0.1)
    # Their places are those of flagged images: no filter by score, and no place at the end, gives them away.
    assert {"low", "lower"} <= set(waiting(database, asked=QueueFilter(low=0.7, high=0.73)))
    database.review_queue.refresh()
    decide(database, "low", ReviewDecision.NOT_DRUG)
    found = {each.image.image_id: each.decisions for each in database.review_samples.reviewed(NIGHT, 1)}
    assert [row.probability for row in found[sample.image_id]] == [0.2]
    assert [row.entered_by for row in found[sample.image_id]] == ["sample"]
    assert found[drawn[1].image_id] == []
    assert database.review_samples.strata(NIGHT, 1) == [SampleStratum(1, 0.0, 0.5, 10, 2, 0.2)]


def test_a_drawn_image_that_was_decided_before_is_not_asked_for_again(database: Database, database_url: str) -> None:
    flag(database, {"a": 0.6, "b": 0.9})
    decide(database, "b")
    database.review_samples.add(sample_of(SampledImage(image_id(database_url, "b"), 1, 0.9, 1, 0.5)))
    assert waiting(database) == ["a"]
    assert len(database.review_samples.reviewed(NIGHT, 1)[0].decisions) == 1


HASHES = {"a": 0, "near": 0b111_1111, "chained": 0b11_1111_1111_1111, "far": 2**64 - 1}


def test_near_duplicates_come_together_and_chains_do_not(database: Database) -> None:
    flag(database, dict.fromkeys(HASHES, 0.9) | {"unhashed": 0.8})
    found = {item.key: item for item in database.review_queue.page(EVERYTHING, "ann", 9).items}
    assert {item.key for item in database.review_queue.without_hash(9)} == set(found)
    database.near_duplicates.store({found[key].image_id: value.to_bytes(8) for key, value in HASHES.items()})
    assert [item.key for item in database.review_queue.without_hash(9)] == ["unhashed"]

    def near(key: str, most: int = 50) -> list[str]:
        return [item.key for item in database.review_queue.near(found[key], "ann", most=most)]

    assert near("a") == ["a", "near"]
    assert near("near")[0] == "near" and set(near("near")) == {"near", "a", "chained"}
    assert near("far") == ["far"] and near("unhashed") == ["unhashed"]
    assert near("near", most=2) == ["near", near("near")[1]]
    database.review_leases.take([found["near"].image_id], "bob", LEASE_S)
    assert near("a") == ["a"]


def test_what_waits_of_a_campaign_is_found_however_much_of_it_was_decided(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "MOST_CANDIDATES", 3)
    flag(database, {f"old{number}": 0.9 for number in range(6)})
    for number in range(6):
        decide(database, f"old{number}")
    record(database, [predicted("new", 0.8), predicted("newer", 0.7)], scan_id="next")
    database.review_queue.refresh()
    ids = [one.row.image_id for page in database.review_decisions.live_pages() for one in page]
    waits = [item.image_id for item in database.review_queue.page(EVERYTHING, "ann", 9).items]
    database.near_duplicates.store(dict.fromkeys([*ids, *waits], bytes(8)))
    assert sorted(database.near_duplicates.near(waits[0])) == sorted(waits)


def test_a_batch_is_decided_together(database: Database) -> None:
    flag(database, {"a": 0.6, "b": 0.9, "c": 0.8})
    items = [item_of(database, key) for key in ("a", "b")]
    database.review_leases.take([item.image_id for item in items], "ann", LEASE_S)
    submit(database, [NewDecision(item.image_id, ReviewDecision.NOT_DRUG, batch="b" * 32) for item in items])
    assert waiting(database) == ["c"]


def test_look_alikes_beyond_the_filter_stay_out_of_the_batch(database: Database, database_url: str) -> None:
    flag(database, {"u/a": 0.9, "u/b": 0.8, "v/c": 0.7, "u/d": 0.6})
    change(database_url, "UPDATE images SET bucket = 'other' WHERE key_text = 'u/b'")
    change(database_url, "UPDATE review_queue SET bucket = 'other' WHERE place = 0.8")
    change(database_url, "UPDATE images SET last_modified = '2026-01-01' WHERE key_text = 'u/d'")
    items = database.review_queue.page(EVERYTHING, "ann", 9).items
    database.near_duplicates.store({item.image_id: bytes(8) for item in items})
    assert [item.key for item in items] == ["u/a", "u/b", "v/c", "u/d"]
    for asked, keys in (
        (EVERYTHING, {"u/a", "u/b", "v/c", "u/d"}),
        (QueueFilter(bucket="bkt"), {"u/a", "v/c", "u/d"}),
        (QueueFilter(prefix="u/"), {"u/a", "u/b", "u/d"}),
        (QueueFilter(low=0.75), {"u/a", "u/b"}),
        (QueueFilter(since=WHEN), {"u/a", "u/b", "v/c"}),
        (QueueFilter(model_version=2), {"u/a"}),
    ):
        assert {item.key for item in database.review_queue.near(items[0], "ann", asked)} == keys, asked
        batch = next_batch(database, QueueAsked(asked), "ann", LEASE_S)
        assert batch is None or {item.key for item in batch.items} == keys, asked
        database.review_leases.give_back([item.image_id for item in items], "ann")
