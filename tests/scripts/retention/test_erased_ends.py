"""A key that is an end of shards is erased there, too; the shards still tile all keys, and certify every key once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from support.database_servers import DatabaseServer
from support.ended_scans import certificate_of
from support.stored_rows import change, rows

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.mysql.erased_ends import LISTED_AGAIN, MOVED, between
from sniffer.adapters.mysql.retention import RetentionRepository
from sniffer.core.errors import ContractError, IncompleteScan, SupersededRun, TransientError
from sniffer.core.flag_records import Deciding
from sniffer.core.key_ranges import KeyRange, key_bytes, tiling_faults
from sniffer.core.records import Certificate, ScanRequest
from sniffer.core.settings import Budgets
from sniffer.core.shard_records import ShardChoice
from sniffer.retention.erase import erase
from sniffer.scan.shard_certificates import sum_certificates
from sniffer.scan.stored_shards import NextPart, next_part

pytestmark = pytest.mark.both_servers

SECRET = "users/47/jane.doe@example.org.jpg"
ENDS = ("a", SECRET, "users/47/k.jpg", "w")
KEYS = ["0", "a", "b", SECRET, SECRET + "x", "users/47/a", "users/47/k.jpg", "users/5", "w", "x"]


@pytest.fixture(autouse=True)
def planned(database: Database) -> None:
    ranges = [KeyRange(*ends) for ends in zip(("", *ENDS), (*ENDS, None), strict=True)]
    database.shards.plan(ScanRequest("plan", "bkt"), 1, 0.5, [(one, 2) for one in ranges])


def identity(key: str) -> int:
    return sum(key_bytes(key)) * 1000


def scan(database: Database, shard: int, *, keys: Sequence[str] = KEYS, **changes: object) -> None:
    """List what the shard has, as its scan would, and certify that."""
    part = next_part(database, ShardChoice("plan", shard))
    assert isinstance(part, NextPart)
    token = database.scans.open(part.request, 1, 0.5)
    mine = [key for key in keys if part.request.key_range.contains(key)]
    ended = certificate_of(
        {}, scan_id=part.request.scan_id, run_number=token.run_number, key_range=part.request.key_range
    )
    counted = {"listed": len(mine), "listing_digest": f"{sum(map(identity, mine)):064x}", "outcomes": ended.outcomes}
    database.scans.close(replace(ended, **(counted | changes)))  # type: ignore[arg-type]


def certified(database: Database) -> Certificate:
    def add_up(request: ScanRequest, parts: Sequence[Certificate]) -> Certificate:
        return sum_certificates(request.scan_id, parts, Budgets(), whole=request.key_range, allow_empty=True)

    return database.shards.certify("plan", add_up)


def erase_by_me(database: Database, *, key: str | None = None, prefix: str = "") -> None:
    erase(database, "bkt", key=key, prefix=prefix, requested_by="J. Doe", reason="ticket 812")


def states(database: Database) -> list[str]:
    found = database.shards.find("plan")
    assert found is not None and tiling_faults(part.key_range for part in found.parts) == []
    return [part.state for part in found.parts]


def assert_gone(database_server: DatabaseServer, database_url: str, text: str) -> None:
    """The text is nowhere in a dump of the whole database, whatever way it may be written there."""
    tables = [row[0] for row in rows(database_url, "SHOW FULL TABLES WHERE Table_type = 'BASE TABLE'")]
    for table in tables:
        for row in rows(database_url, f"SELECT * FROM {table}"):
            for value in row:
                shown = value if isinstance(value, bytes) else str(value).encode()
                assert text.encode() not in shown, f"{table}: {row}"


def test_a_key_is_erased_between_shards_that_are_done(
    database: Database, database_server: DatabaseServer, database_url: str
) -> None:
    for shard in (1, 2, 3, 4, 5):
        scan(database, shard)
    before = certified(database)
    change(database_url, "DELETE FROM leases")
    erase_by_me(database, key=SECRET)
    assert_gone(database_server, database_url, SECRET)
    assert states(database) == ["complete"] * 5, "only their sum is certified"
    after = certified(database)
    assert (after.listed, after.listing_digest, after.holds) == (before.listed, before.listing_digest, True)
    assert after.listed == len(KEYS)
    part = database.scans.certificate("plan.3")
    assert part is not None and part.warnings == (MOVED,) and part.key_range.after == "a "
    assert database.retention.erasures("bkt")[-1].certificates == 0
    erase_by_me(database, key=SECRET)
    assert certified(database) == after


@pytest.mark.parametrize(
    ("done", "then"),
    [
        ((), ["planned"] * 5),
        ((1, 4, 5), ["complete", "planned", "planned", "complete", "complete"]),
        ((2,), ["planned", "incomplete", "planned", "planned", "planned"]),
        ((3, 4), ["planned", "planned", "incomplete", "complete", "planned"]),
    ],
)
def test_where_one_of_two_is_left_both_are_scanned_again_and_no_key_is_lost_or_counted_twice(
    database: Database, database_server: DatabaseServer, database_url: str, done: Sequence[int], then: list[str]
) -> None:
    for shard in done:
        scan(database, shard)
    erase_by_me(database, key=SECRET)
    assert_gone(database_server, database_url, SECRET)
    assert states(database) == then
    for shard in (1, 2, 3, 4, 5):
        part = next_part(database, ShardChoice("plan", shard))
        if isinstance(part, Certificate):
            continue
        before = database.scans.certificate(part.request.scan_id)
        assert before is None or before.problems == (LISTED_AGAIN,)
        scan(database, shard)
    whole = certified(database)
    assert (whole.listed, int(whole.listing_digest, 16)) == (len(KEYS), sum(map(identity, KEYS)))


def test_a_prefix_takes_all_ends_under_it_and_the_words_of_certificates(
    database: Database, database_server: DatabaseServer, database_url: str
) -> None:
    scan(database, 1)
    scan(database, 3, problems=(f"keys ({SECRET!r}, 'users/47/k.jpg']: 1 failed",))
    scan(database, 4, key_range=KeyRange("users/47/k.jpg", "users/47/z"), rest_after="users/47/z")
    erase_by_me(database, prefix="users/47/")
    assert_gone(database_server, database_url, "users/47/")
    # The first is beside no such end; the fourth is beside two that are left, and so is what it has left over.
    assert states(database) == ["complete", "planned", "incomplete", "incomplete", "planned", "planned"]
    assert [row[0] for row in rows(database_url, "SELECT after_key FROM shards ORDER BY after_key")] == [
        b"",
        b"a",
        b"a ",
        b"a  ",
        b"a   ",
        b"w",
    ]


def test_a_shard_that_is_held_is_decided_about_first(database: Database) -> None:
    scan(database, 2, held="too many")
    with pytest.raises(TransientError, match="scan plan.2 is held, and an end of its keys is to be erased"):
        erase_by_me(database, key=SECRET)
    erase_by_me(database, key="w")


def test_a_range_that_is_no_part_of_a_plan_has_other_ends(
    database: Database, database_server: DatabaseServer, database_url: str
) -> None:
    for name, one in (("x", KeyRange(SECRET, "z")), ("y", KeyRange("a", SECRET)), ("z", KeyRange(SECRET))):
        token = database.scans.open(ScanRequest(name, "bkt", key_range=one), 1, 0.5)
        database.scans.close(certificate_of({}, scan_id=name, run_number=token.run_number, key_range=one))
    erase_by_me(database, key=SECRET)
    assert_gone(database_server, database_url, SECRET)
    found = [database.scans.certificate(name) for name in "xyz"]
    assert [one.key_range for one in found if one] == [KeyRange("", "z"), KeyRange("a", "a "), KeyRange()]


def test_an_end_is_found_between_any_two_keys() -> None:
    rng = random.Random(3)
    letters = " !ab/é\U0001f600"
    for _ in range(2000):
        after, before = sorted(("".join(rng.choices(letters, k=rng.randrange(6))) for _ in range(2)), key=key_bytes)
        secret = "".join(rng.choices(letters, k=4))
        if not key_bytes(after) < key_bytes(secret) < key_bytes(before):
            continue
        found = between(after, before, lambda key, secret=secret: key == secret)  # type: ignore[misc]
        assert key_bytes(after) < key_bytes(found) < key_bytes(before) and found != secret
    longest = "a" * 1024
    assert between(longest, "b/c", lambda key: key == "b") == "b/"
    with pytest.raises(ContractError, match="no other key between its neighbours"):
        between(longest, None, lambda _: False)


@pytest.mark.parametrize("has_run", [False, True])
def test_a_shard_that_was_about_to_begin_takes_the_new_ends(database: Database, has_run: bool) -> None:
    if has_run:
        scan(database, 3, problems=("stopped",))
    part = next_part(database, ShardChoice("plan", 3))
    assert isinstance(part, NextPart)
    erase_by_me(database, key=SECRET)
    with pytest.raises(IncompleteScan, match=r"scan plan\.3.*run the same command again"):
        database.scans.open(part.request, 1, 0.5)
    for shard in (1, 2, 3, 4, 5):
        scan(database, shard)
    assert certified(database).listed == len(KEYS)


def test_a_shard_that_began_meanwhile_is_waited_for_and_one_that_was_dead_ends_no_more(
    database: Database, database_url: str
) -> None:
    part = next_part(database, ShardChoice("plan", 3))
    assert isinstance(part, NextPart)
    token = database.scans.open(part.request, 1, 0.5)
    with pytest.raises(TransientError, match=r"plan\.3"):
        database.retention.erase_ends("bkt", SECRET, "")
    database.retention.erase_ends("bkt", "w", "")  # which is no end of its keys
    change(database_url, "UPDATE leases SET lease_until = lease_until - INTERVAL 1 DAY")
    erase_by_me(database, key=SECRET)
    with pytest.raises(SupersededRun):
        database.scans.close(
            certificate_of({}, scan_id="plan.3", run_number=token.run_number, key_range=part.request.key_range)
        )
    for shard in (1, 2, 3, 4, 5):
        scan(database, shard)
    assert certified(database).listed == len(KEYS)


def test_a_release_beside_an_erasure_is_not_lost(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    token = database.scans.open(ScanRequest("night", "bkt"), 1, 0.5)
    words = (f"{SECRET} failed",)
    database.scans.close(
        certificate_of({}, scan_id="night", run_number=token.run_number, held="too many", warnings=words)
    )
    replace_rows = RetentionRepository._replace

    def late(self: RetentionRepository, *given: Any) -> Any:
        database.holds.release(Deciding("night", "jo", "checked"))
        return replace_rows(self, *given)

    monkeypatch.setattr(RetentionRepository, "_replace", late)
    assert database.retention.erase_from_certificates("bkt", SECRET, "") == 1
    found = database.scans.certificate("night")
    assert found is not None and (found.warnings, found.released) == (("(erased) failed",), "jo: checked")
