"""Estimates in MySQL: of one plan, approved by its digest, and what their shards are refused for."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from support.ended_scans import certificate_of
from support.estimates import ESTIMATE
from support.stored_rows import change, model

from sniffer.adapters.mysql.database import Database
from sniffer.backfill.recount import ordered
from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.estimate_records import Approving, ShardFigures
from sniffer.core.key_ranges import KeyRange
from sniffer.core.records import Certificate, Outcome, ScanRequest
from sniffer.core.settings import DatabaseSettings
from sniffer.core.shard_records import ShardChoice
from sniffer.scan.stored_shards import NextPart, next_part, take_room

pytestmark = pytest.mark.both_servers

RANGES = [(KeyRange("", "c"), 3), (KeyRange("c", "k"), 3), (KeyRange("k"), 3)]


@pytest.fixture
def planned(database: Database) -> Database:
    """A database with the plan of three shards, three objects each, which may grow by a half: 13 objects."""
    database.models.register(model(1))
    database.shards.plan(ScanRequest("whole", "bkt"), 1, 0.5, RANGES)
    return database


def approved(database: Database) -> str:
    digest = database.estimates.store(ESTIMATE).estimate.digest
    database.estimates.approve(Approving("whole", digest, "ben", "why not"))
    return digest


def part(database: Database, shard: int) -> NextPart:
    found = next_part(database, ShardChoice("whole", shard))
    assert isinstance(found, NextPart)
    return found


def scanned(database: Database, shard: int, objects: int, *, ended_at: str | None = None) -> None:
    """That shard has listed so many, up to that key or to its end."""
    request = part(database, shard).request
    token = database.scans.open(request, 1, 0.5)
    keys = KeyRange(request.key_range.after, ended_at or request.key_range.up_to)
    certificate: Certificate = certificate_of(
        {Outcome.UNCHANGED: objects},
        scan_id=request.scan_id,
        run_number=token.run_number,
        key_range=keys,
        rest_after=ended_at,
    )
    database.scans.close(certificate)


def test_a_shard_waits_for_the_approval_of_just_that_estimate(planned: Database) -> None:
    assert part(planned, 1).room is None, "without an estimate nobody is asked"
    digest = planned.estimates.store(ESTIMATE).estimate.digest
    with pytest.raises(SettingsError, match="nobody has approved the plan of scan whole yet.*mark"):
        part(planned, 1)
    with pytest.raises(SettingsError, match=f"no estimate with the digest '{'0' * 64}': that of its plan is {digest}"):
        planned.estimates.approve(Approving("whole", "0" * 64, "ben", ""))
    stored = planned.estimates.approve(Approving("whole", digest, "ben", "why not"))
    assert (stored.approved_by, stored.approval_reason) == ("ben", "why not")
    assert stored.approved_at is not None and datetime.now(UTC) - stored.approved_at < timedelta(minutes=1)
    again = planned.estimates.approve(Approving("whole", digest, "ann", "me too"))
    assert again == stored, "the first approval stays"
    assert part(planned, 1).room is not None
    # What is estimated anew is approved anew, also when only a figure has changed.
    assert planned.estimates.store(dataclasses.replace(ESTIMATE, list_requests=4)).estimate.digest != digest
    with pytest.raises(SettingsError, match="nobody has approved"):
        part(planned, 1)
    approved(planned)
    planned.estimates.withdraw("whole")
    with pytest.raises(SettingsError, match="nobody has approved"):
        part(planned, 1)


def test_an_estimate_that_nobody_is_held_to_stops_nobody(planned: Database) -> None:
    planned.estimates.store(dataclasses.replace(ESTIMATE, growth=None))
    assert part(planned, 1).room is None


def test_a_plan_that_has_to_be_approved_is_bound_without_an_estimate_and_stays_so(planned: Database) -> None:
    planned.estimates.require_approval("whole")
    with pytest.raises(SettingsError, match="has to be approved, and has no estimate yet.*marked as successful"):
        part(planned, 1)
    with pytest.raises(SettingsError, match="has no estimate"):
        planned.estimates.approve(Approving("whole", "", "eve", "why not"))
    unbound = dataclasses.replace(ESTIMATE, growth=None)
    with pytest.raises(SettingsError, match="has to be approved: give --growth"):
        planned.estimates.store(unbound)
    approved(planned)
    planned.estimates.require_approval("whole")
    assert part(planned, 1).room is not None, "planned again, it is what was approved"
    for refused in (lambda: planned.estimates.store(unbound), lambda: planned.estimates.refuse_unbound("whole")):
        with pytest.raises(SettingsError, match="has to be approved: give --growth"):
            refused()
    assert part(planned, 1).room is not None


def test_an_approval_is_of_the_plan_as_it_was(planned: Database, database_url: str) -> None:
    approved(planned)
    for statement, undo in (
        ("UPDATE shards SET up_to_key = 'd' WHERE shard = 1", "UPDATE shards SET up_to_key = 'c' WHERE shard = 1"),
        ("UPDATE scans SET model_version = 2", "UPDATE scans SET model_version = 1"),
        (
            "UPDATE scans SET request = JSON_SET(request, '$.rescan', true)",
            "UPDATE scans SET request = JSON_SET(request, '$.rescan', false)",
        ),
        (
            "UPDATE estimates SET estimate = JSON_SET(estimate, '$.growth', 1.0)",
            "UPDATE estimates SET estimate = JSON_SET(estimate, '$.growth', 0.5)",
        ),
    ):
        change(database_url, statement)
        with pytest.raises(ContractError, match="is not what was estimated any more"):
            part(planned, 1)
        change(database_url, undo)
        assert part(planned, 1).room is not None


def test_a_shard_may_list_what_the_others_leave_of_the_growth(planned: Database) -> None:
    approved(planned)
    first = part(planned, 1)
    assert first.room is not None and (first.room.objects, first.room.images) == (13 - 6, 2 + 4)
    # A shard that ends early has a further part: the plan is the same, and what it has listed counts.
    scanned(planned, 1, 2, ended_at="a")
    rest = part(planned, 1)
    assert rest.room is not None and (rest.request.key_range, rest.room.objects) == (KeyRange("a", "c"), 13 - 6 - 2)
    scanned(planned, 1, 5)
    # It has grown by four: none is left.
    second = part(planned, 2)
    assert second.room is not None and second.room.objects == 13 - 7 - 3
    second.room.check(3)
    with pytest.raises(SettingsError, match=r"s3://bkt/ has grown by more than 50.0% past the 9 objects"):
        second.room.check(4)
    scanned(planned, 2, 10)
    with pytest.raises(SettingsError, match="has grown by more than"):
        part(planned, 3)


def test_shards_that_run_at_once_pass_what_was_approved_together_no_more_than_alone(planned: Database) -> None:
    """Each has room for four more, and so have all: what one has listed beyond its own the others are told."""
    approved(planned)
    parts = [part(planned, shard) for shard in (1, 2, 3)]
    assert [each.room and (each.room.objects, each.room.planned) for each in parts] == [(7, 3)] * 3
    for each in parts:
        planned.scans.open(each.request, 1, 0.5)
    take_room(planned, ShardChoice("whole", 1), "whole.1", 5)
    take_room(planned, ShardChoice("whole", 3), "whole.3", 5)
    take_room(planned, ShardChoice("whole", 1), "whole.1", 4)  # an answer that came late takes nothing back
    with pytest.raises(SettingsError, match="has grown by more than 50.0% past the 9 objects"):
        take_room(planned, ShardChoice("whole", 2), "whole.2", 4)
    with pytest.raises(SettingsError, match="has grown by more than"):
        take_room(planned, ShardChoice("whole", 1), "whole.1", 6)
    planned.estimates.store(dataclasses.replace(ESTIMATE, list_requests=4))
    with pytest.raises(SettingsError, match="nobody has approved"):
        take_room(planned, ShardChoice("whole", 3), "whole.3", 5)


def test_the_room_that_a_shard_has_taken_is_its_own_when_it_is_run_again(planned: Database) -> None:
    """What was handed out in it is scored: another shard that took it meanwhile would pass what was approved."""
    approved(planned)
    first = part(planned, 1)
    planned.scans.open(first.request, 1, 0.5)
    take_room(planned, ShardChoice("whole", 1), "whole.1", 7)
    planned.scans.open(first.request, 1, 0.5)  # its process was killed
    planned.scans.open(part(planned, 2).request, 1, 0.5)
    with pytest.raises(SettingsError, match="has grown by more than"):
        take_room(planned, ShardChoice("whole", 2), "whole.2", 4)
    again = part(planned, 1)
    assert again.room is not None and again.room.objects == 7
    take_room(planned, ShardChoice("whole", 1), "whole.1", 7)
    scanned(planned, 1, 5)
    take_room(planned, ShardChoice("whole", 2), "whole.2", 5)


def test_a_new_estimate_counts_anew_what_shards_that_are_left_have_listed(planned: Database) -> None:
    """Objects are gone since, say: whoever approves what is there now has approved room for others."""
    approved(planned)
    planned.scans.open(part(planned, 1).request, 1, 0.5)
    take_room(planned, ShardChoice("whole", 1), "whole.1", 7)
    planned.scans.open(part(planned, 2).request, 1, 0.5)
    approved(planned)
    with pytest.raises(SettingsError, match="has grown by more than"):  # it is the same estimate
        take_room(planned, ShardChoice("whole", 2), "whole.2", 4)
    scanned(planned, 3, 4)
    again = planned.estimates.store(dataclasses.replace(ESTIMATE, list_requests=4)).estimate.digest
    planned.estimates.approve(Approving("whole", again, "ben", "it has shrunk"))
    take_room(planned, ShardChoice("whole", 2), "whole.2", 6)
    with pytest.raises(SettingsError, match="has grown by more than"):
        take_room(planned, ShardChoice("whole", 1), "whole.1", 4)


def test_of_shards_at_once_that_want_the_last_of_the_room_one_gets_it(planned: Database, database_url: str) -> None:
    approved(planned)
    for shard in (1, 2, 3):
        planned.scans.open(part(planned, shard).request, 1, 0.5)
    ready = threading.Barrier(3)

    def is_given(shard: int) -> bool:
        with Database(DatabaseSettings(database_url, patience_s=30)) as ours:
            ours.check()
            ready.wait(30)
            try:
                take_room(ours, ShardChoice("whole", shard), f"whole.{shard}", 6)
            except SettingsError:
                return False
            return True

    with ThreadPoolExecutor(3) as threads:
        assert sum(threads.map(is_given, (1, 2, 3))) == 1


def test_shards_are_named_by_key_or_by_the_time_of_their_new_images(planned: Database) -> None:
    whole = planned.shards.find("whole")
    assert whole is not None
    with pytest.raises(SettingsError, match="--order oldest: when its images were made is not known"):
        ordered(whole, "oldest", None)
    stored = planned.estimates.store(ESTIMATE)
    orders = {order: ordered(whole, order, stored) for order in ("keys", "keys-backwards", "oldest", "newest")}
    assert orders == {"keys": [1, 2, 3], "keys-backwards": [3, 2, 1], "oldest": [2, 3, 1], "newest": [1, 3, 2]}
    # One with nothing new is the last, whichever way.
    shards = (ShardFigures(1, 3, 0), *ESTIMATE.shards[1:])
    nothing_new = planned.estimates.store(dataclasses.replace(ESTIMATE, shards=shards))
    assert [*ordered(whole, "oldest", nothing_new)][-1] == [*ordered(whole, "newest", nothing_new)][-1] == 1
