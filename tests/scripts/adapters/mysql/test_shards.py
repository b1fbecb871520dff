"""Plans of shards in MySQL: made once, cut where a shard ends early, certified when nothing is left."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import create_engine, text
from support.stored_rows import rows

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import ContractError, HeldScan, IncompleteScan, SettingsError, SnifferError
from sniffer.core.flag_records import Deciding
from sniffer.core.key_ranges import ALL_KEYS, KeyRange
from sniffer.core.records import LONGEST_SCAN_ID, SCAN_ID_PATTERN, Certificate, FencingToken, Outcome, ScanRequest
from sniffer.core.settings import Budgets, DatabaseSettings
from sniffer.core.shard_records import ShardChoice, ShardPart
from sniffer.scan.shard_certificates import sum_certificates
from sniffer.scan.stored_shards import NextPart, next_part

REQUEST = ScanRequest(
    "whole",
    "bkt",
    "p/",
    since=datetime(2026, 11, 1, tzinfo=UTC),
    until=datetime(2026, 11, 2, 3, 4, 5, 678, tzinfo=UTC),
    rescan=True,
    dag_run="scan_bucket/one",
    include=(".jpg", "p/*"),
    exclude=(".html",),
    allow_empty=True,
    late_before=datetime(2026, 11, 1, 12, tzinfo=UTC),
    late_prefixes=("o/",),
)
RANGES = [(KeyRange("", "p/d"), 10), (KeyRange("p/d"), 12)]


def certificate(part: ShardPart, token: FencingToken, **changes: object) -> Certificate:
    held = Certificate(
        scan_id=part.scan_id,
        bucket="bkt",
        prefix="p/",
        since=None,
        until=None,
        limited=False,
        listing_digest=f"{part.shard:064x}",
        listed=5,
        outcomes=dict.fromkeys(Outcome, 0) | {Outcome.PREDICTED: 5},
        flagged=1,
        model_version=3,
        model_digest="d" * 64,
        preprocessing_version="p1",
        threshold=0.5,
        duration_s=10.0,
        images_per_s=0.5,
        run_number=token.run_number,
        key_range=part.key_range,
    )
    return replace(held, **changes)  # type: ignore[arg-type]


def opened(database: Database, part: ShardPart) -> FencingToken:
    request = replace(REQUEST, scan_id=part.scan_id, key_range=part.key_range)
    return database.scans.open(request, 3, 0.5)


def scanned(database: Database, part: ShardPart, **changes: object) -> Certificate:
    token = opened(database, part)
    done = certificate(part, token, **changes)
    database.scans.close(done)
    return done


def parts_of(database: Database, scan_id: str = "whole") -> tuple[ShardPart, ...]:
    found = database.shards.find(scan_id)
    assert found is not None
    return found.parts


def add_up(request: ScanRequest, parts: Sequence[Certificate]) -> Certificate:
    return sum_certificates(request.scan_id, parts, Budgets(), whole=request.key_range)


def test_a_plan_is_kept_as_it_was_first_made(database: Database) -> None:
    assert database.shards.find("whole") is None
    stored = database.shards.plan(REQUEST, 3, 0.5, RANGES)
    assert stored == database.shards.find("whole")
    assert stored.request == REQUEST and stored.model_version == 3 and stored.left == (1, 2)
    assert [(part.shard, part.part, part.key_range, part.keys) for part in stored.parts] == [
        (1, 1, RANGES[0][0], 10),
        (2, 1, RANGES[1][0], 12),
    ]
    again = database.shards.plan(replace(REQUEST, dag_run="another"), 4, 0.6, [(ALL_KEYS, 1)])
    assert again == stored


def test_two_that_plan_at_once_make_one_plan(database: Database, database_url: str) -> None:
    assert database.shards.find("whole") is None
    found = []

    def plan(cut: str) -> None:
        with Database(DatabaseSettings(database_url)) as own:
            found.append(own.shards.plan(REQUEST, 3, 0.5, [(KeyRange("", cut), 1), (KeyRange(cut), 1)]))

    threads = [threading.Thread(target=plan, args=(cut,)) for cut in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all(each == found[0] for each in found)


def test_states_runs_and_counts_are_those_of_the_shards_own_scans(database: Database) -> None:
    first, second = database.shards.plan(REQUEST, 3, 0.5, RANGES).parts
    scanned(database, first)
    opened(database, second)
    opened_again, known = parts_of(database)
    assert (opened_again.state, opened_again.runs, opened_again.listed) == ("complete", 1, 5)
    assert (known.state, known.runs) == ("running", 1)
    found = database.shards.find("whole")
    assert found is not None and found.left == (2,)


def test_what_is_in_one_piece_and_what_is_in_shards_keep_their_ids(database: Database) -> None:
    database.shards.plan(REQUEST, 3, 0.5, RANGES)
    with pytest.raises(ContractError, match="scan whole is cut into shards: scan each of them with --shard-of"):
        database.scans.open(REQUEST, 3, 0.5)
    alone = replace(REQUEST, scan_id="alone")
    database.scans.open(alone, 3, 0.5)
    with pytest.raises(ContractError, match="scan alone was begun in one piece"):
        database.shards.plan(alone, 3, 0.5, RANGES)


def test_a_shard_that_ends_early_leaves_the_rest_to_a_further_part(database: Database) -> None:
    first, second = database.shards.plan(REQUEST, 3, 0.5, RANGES).parts
    early = scanned(database, second, key_range=KeyRange("p/d", "p/é😀"), rest_after="p/é😀")
    database.scans.close(early)  # a commit whose answer was lost
    kept, cut, rest = parts_of(database)
    assert kept == first and cut.is_complete and cut.key_range == KeyRange("p/d", "p/é😀")
    assert (rest.shard, rest.part, rest.key_range, rest.scan_id) == (2, 2, KeyRange("p/é😀"), "whole.2-2")
    # The part's scan is of its own keys now, and of no others.
    assert database.scans.open(replace(REQUEST, scan_id=cut.scan_id, key_range=cut.key_range), 3, 0.5).run_number == 2
    with pytest.raises(IncompleteScan, match=r"is of the keys \('p/d', 'p/é😀'\] by now.* run the same command again"):
        database.scans.open(replace(REQUEST, scan_id=cut.scan_id, key_range=second.key_range), 3, 0.5)
    with pytest.raises(ContractError, match="give it the same --after and --up-to"):
        database.scans.open(replace(REQUEST, scan_id=cut.scan_id, key_range=KeyRange("q")), 3, 0.5)
    scanned(database, cut)
    scanned(database, rest, key_range=KeyRange("p/é😀", "p/😀"), rest_after="p/😀")
    assert [(part.part, part.key_range) for part in parts_of(database)[2:]] == [
        (2, KeyRange("p/é😀", "p/😀")),
        (3, KeyRange("p/😀")),
    ]


def test_one_that_ends_early_and_does_not_hold_is_scanned_again_as_it_was(database: Database) -> None:
    first = database.shards.plan(REQUEST, 3, 0.5, RANGES).parts[0]
    scanned(database, first, key_range=KeyRange("", "p/a"), rest_after="p/a", problems=("so",))
    again = parts_of(database)[0]
    assert again.key_range == first.key_range and again.state == "incomplete" and len(parts_of(database)) == 2
    opened(database, first)


def test_the_whole_is_certified_when_nothing_is_left(database: Database, database_url: str) -> None:
    first, second = database.shards.plan(REQUEST, 3, 0.5, RANGES).parts
    with pytest.raises(ContractError, match="scan no has no shards in MySQL"):
        database.shards.certify("no", add_up)
    with pytest.raises(IncompleteScan, match="2 of 2 parts are not complete.* nobody has begun it"):
        database.shards.certify("whole", add_up)
    scanned(database, first)
    scanned(database, second, problems=("so",))
    with pytest.raises(IncompleteScan, match="1 of 2 parts.* shard 2 of the keys .* its state is `incomplete`"):
        database.shards.certify("whole", add_up)
    scanned(database, second)
    whole = database.shards.certify("whole", add_up)
    assert whole == database.scans.certificate("whole") and whole.holds
    assert (whole.listed, whole.scan_id, int(whole.listing_digest, 16)) == (10, "whole", 3)
    assert database.scans.is_complete("whole")
    assert database.shards.certify("whole", add_up) == whole
    # What its shards have scored is counted once.
    per_day = database.scans.images_per_day()
    assert per_day is not None and round(per_day) == 10
    assert rows(database_url, "SELECT SUM(predicted) FROM scans") == [(20,)]


def test_a_part_that_has_begun_again_is_not_certified(database: Database) -> None:
    for part in database.shards.plan(REQUEST, 3, 0.5, RANGES).parts:
        scanned(database, part)
    opened(database, parts_of(database)[0])
    with pytest.raises(IncompleteScan, match="its state is `running`"):
        database.shards.certify("whole", add_up)


def test_a_shard_that_runs_is_not_waited_for_nor_is_its_rest_forgotten(database: Database, database_url: str) -> None:
    first, second = database.shards.plan(REQUEST, 3, 0.5, RANGES).parts
    scanned(database, first)
    early = certificate(second, opened(database, second), key_range=KeyRange("p/d", "p/x"), rest_after="p/x")
    found: list[Exception] = []

    def certify() -> None:
        with Database(DatabaseSettings(database_url)) as own:
            try:
                own.shards.certify("whole", add_up)
            except SnifferError as error:
                found.append(error)

    engine, thread = create_engine(database_url), threading.Thread(target=certify)
    with engine.begin() as connection:  # the second shard ends, and has not committed yet
        connection.execute(text("SELECT number FROM scans WHERE scan_id = 'whole.2' FOR UPDATE"))
        thread.start()
        thread.join(1.0)
        was_waited_for = thread.is_alive()
    engine.dispose()
    thread.join()
    database.scans.close(early)
    assert not was_waited_for and [type(error) for error in found] == [IncompleteScan]
    with pytest.raises(IncompleteScan, match=r"1 of 3 parts.* shard 2, part 2, of the keys \('p/x', end\]: nobody"):
        database.shards.certify("whole", add_up)


@pytest.mark.parametrize("decision", ["release", "discard"])
def test_the_rest_of_a_held_shard_that_ended_early_is_not_lost(database: Database, decision: str) -> None:
    first, second = database.shards.plan(REQUEST, 3, 0.5, RANGES).parts
    scanned(database, first)
    scanned(database, second, key_range=KeyRange("p/d", "p/x"), rest_after="p/x", held="9 of 10 are flagged")
    _, held, rest = parts_of(database)
    assert (held.state, held.key_range, rest.key_range) == ("held", KeyRange("p/d", "p/x"), KeyRange("p/x"))
    getattr(database.holds, decision)(Deciding(second.scan_id, "jo", "looked at"))
    for part in parts_of(database)[1:]:
        if not part.is_complete:
            scanned(database, part)
    assert database.shards.certify("whole", add_up).holds


def test_parts_of_a_scan_whose_id_is_as_long_as_can_be_have_ids_of_their_own(database: Database) -> None:
    ids = {}
    for last in "ab":
        request = replace(REQUEST, scan_id="scan_bucket.manual." + "r" * (LONGEST_SCAN_ID - 20) + last)
        first, second = database.shards.plan(request, 3, 0.5, RANGES).parts
        for part in (first, second):
            database.scans.open(replace(request, scan_id=part.scan_id, key_range=part.key_range), 3, 0.5)
        early = certificate(second, FencingToken(0, 1), key_range=KeyRange("p/d", "p/x"), rest_after="p/x")
        database.scans.close(early)
        ids[last] = [part.scan_id for part in parts_of(database, request.scan_id)]
    every = [*ids["a"], *ids["b"]]
    assert len(set(every)) == 6 and all(SCAN_ID_PATTERN.fullmatch(one) for one in every)
    assert [one.rpartition(".")[2] for one in ids["a"]] == ["1", "2", "2-2"]
    # The summary finds the wholes by the run's name.
    found = database.scans.of_run("scan_bucket.manual")
    assert len(found) == 2 and all(scan.shard_states == {"running", "complete"} for scan in found)


def test_the_next_part_of_a_shard_is_what_is_left_of_it(database: Database) -> None:
    with pytest.raises(SettingsError, match="no plan of that scan is stored"):
        next_part(database, ShardChoice("whole", 1))
    first, _ = database.shards.plan(REQUEST, 3, 0.5, RANGES).parts
    with pytest.raises(SettingsError, match="scan whole has the shards 1 to 2"):
        next_part(database, ShardChoice("whole", 3))
    expected = replace(REQUEST, scan_id=first.scan_id, key_range=first.key_range, allow_empty=True)
    assert next_part(database, ShardChoice("whole", 1)) == NextPart(expected, 3, is_first_start=True)
    scanned(database, first, key_range=KeyRange("", "p/a"), rest_after="p/a")
    rest = next_part(database, ShardChoice("whole", 1))
    assert isinstance(rest, NextPart) and rest.request.key_range == KeyRange("p/a", "p/d")
    assert not rest.is_first_start  # it is the middle of the whole
    done = scanned(database, parts_of(database)[1])
    assert next_part(database, ShardChoice("whole", 1)) == done


def test_while_a_shard_is_held_no_other_begins(database: Database) -> None:
    first, _ = database.shards.plan(REQUEST, 3, 0.5, RANGES).parts
    scanned(database, first, held="far too many")
    with pytest.raises(HeldScan, match="scan whole.1 is held: far too many"):
        next_part(database, ShardChoice("whole", 2))
