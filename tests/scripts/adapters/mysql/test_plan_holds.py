"""A scan in shards that is held as a whole: nothing of it is seen, nothing of it goes on, one decision is for all."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from support.ended_scans import certificate_of
from support.stored_rows import change, predicted, record, rows

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import HeldScan, IncompleteScan, SettingsError, SupersededRun
from sniffer.core.flag_records import Deciding, FlagCounts, FloodRule
from sniffer.core.key_ranges import KeyRange
from sniffer.core.plan_flags import PlanJudge, ShardFlags
from sniffer.core.records import Certificate, FencingToken, ScanRequest
from sniffer.core.settings import DatabaseSettings
from sniffer.core.shard_records import ShardChoice
from sniffer.scan.breaker import LOOK_S, FloodBreaker
from sniffer.scan.stored_shards import NextPart, next_part

pytestmark = pytest.mark.both_servers

WHOLE = ScanRequest("plan", "bkt", dag_run="scan_bucket/night")
FLAGGED = "SELECT object_key FROM flagged_images ORDER BY object_key"
HELD = "SELECT scan_id FROM holds JOIN scans ON number = scan_number ORDER BY scan_id"
DECISIONS = (
    "SELECT scan_id, decision, decided_by, results FROM hold_decisions d JOIN scans s ON s.number = d.scan_number "
    "ORDER BY d.number"
)
WHY = "of all 3 shards together, far too many"


@pytest.fixture(autouse=True)
def planned(database: Database) -> None:
    database.models.promote(1)
    ranges = [(KeyRange("", "b"), 10), (KeyRange("b", "c"), 10), (KeyRange("c"), 10)]
    database.shards.plan(WHOLE, 1, 0.5, ranges)


def begin(database: Database, shard: int, flagged: int = 2) -> FencingToken:
    """A part that runs, and has scored three images."""
    part = next_part(database, ShardChoice("plan", shard))
    assert isinstance(part, NextPart)
    token = database.scans.open(part.request, 1, 0.5)
    found = [predicted(f"{'abc'[shard - 1]}{number}", 0.9 if number < flagged else 0.1) for number in range(3)]
    record(database, found, token=token)
    return token


def end(database: Database, token: FencingToken, shard: int, **changes: Any) -> None:
    ended = certificate_of({}, scan_id=f"plan.{shard}", run_number=token.run_number, **changes)
    database.scans.close(ended)


def add_up(request: ScanRequest, parts: Sequence[Certificate]) -> Certificate:
    return certificate_of({}, scan_id=request.scan_id)


def judged(reason: str) -> PlanJudge:
    return PlanJudge(60, 3, lambda *_: reason)


def test_a_hold_on_the_whole_is_one_on_every_part(database: Database, database_url: str) -> None:
    first, second = begin(database, 1), begin(database, 2)
    end(database, first, 1)
    assert rows(database_url, FLAGGED) == [("a0",), ("a1",), ("b0",), ("b1",)]
    for token in (second, first):  # whichever sees it, and however often
        database.holds.hold_plan(token, WHY)
    assert rows(database_url, FLAGGED) == []
    assert rows(database_url, HELD) == [("plan",), ("plan.1",), ("plan.2",)]
    assert rows(database_url, "SELECT state FROM scans WHERE scan_id = 'plan'") == [("held",)]
    assert rows(database_url, DECISIONS) == [("plan", "held", None, None)]
    assert [(one.scan_id, one.reason) for one in database.holds.of_dag_run("scan_bucket/night")] == [("plan", WHY)]
    # The one that ran may end; none begins, nor goes on.
    end(database, second, 2, problems=("stopped early",))
    for shard in (1, 2, 3):
        with pytest.raises(HeldScan, match=f"scan plan is held: {WHY}.*sniffer release plan"):
            next_part(database, ShardChoice("plan", shard))
    for part in database.shards.find("plan").parts:  # type: ignore[union-attr]
        with pytest.raises(HeldScan, match="scan plan is held"):
            request = dataclasses.replace(WHOLE, scan_id=part.scan_id, key_range=part.key_range, dag_run=None)
            database.scans.open(request, 1, 0.5)
    with pytest.raises(HeldScan, match="scan plan is held"):
        database.shards.certify("plan", add_up)
    for decide in (database.holds.release, database.holds.discard):
        with pytest.raises(SettingsError, match="plan.1 is a shard of scan plan, which is held as a whole"):
            decide(Deciding("plan.1", "jo", "why"))


def test_a_release_is_for_all_parts_and_for_those_to_come(database: Database, database_url: str) -> None:
    first, second = begin(database, 1), begin(database, 2)
    end(database, first, 1)
    end(database, second, 2, held="of shard 2 of 3, too many")
    with pytest.raises(HeldScan, match=r"scan plan\.2 is held: of shard 2 of 3"):
        next_part(database, ShardChoice("plan", 3))
    database.holds.hold_plan(first, WHY)
    assert rows(database_url, "SELECT reason FROM holds ORDER BY scan_number")[2] == ("of shard 2 of 3, too many",)
    decided = database.holds.release(Deciding("plan", "jo", "checked"))
    assert (decided.held_for, decided.is_finished) == (WHY, False)
    assert rows(database_url, HELD) == []
    assert rows(database_url, FLAGGED) == [("a0",), ("a1",), ("b0",), ("b1",)]
    assert rows(database_url, DECISIONS)[2:] == [("plan.2", "released", "jo", None), ("plan", "released", "jo", None)]
    third = begin(database, 3)
    assert database.holds.plan_counts(third).released == "jo: checked"
    database.holds.hold_plan(third, WHY)  # a look that was under way
    assert rows(database_url, HELD) == []
    end(database, third, 3)
    whole = database.shards.certify("plan", add_up, judged("still far too many"))
    assert whole.holds and (whole.held, whole.released) == ("still far too many", "jo: checked")
    assert database.scans.is_complete("plan")


def test_whoever_is_killed_between_the_hold_and_its_own_end_goes_on_after_the_release(
    database: Database, database_url: str
) -> None:
    database.holds.hold_plan(begin(database, 1), WHY)
    change(database_url, "DELETE FROM leases")  # they are over
    assert rows(database_url, FLAGGED) == []
    assert not database.holds.release(Deciding("plan", "jo", "checked")).is_finished
    assert rows(database_url, FLAGGED) == [("a0",), ("a1",)]
    part = next_part(database, ShardChoice("plan", 1))
    assert isinstance(part, NextPart)
    token = database.scans.open(part.request, 1, 0.5)
    assert token.run_number == 2 and database.holds.plan_counts(token).total == FlagCounts(3, 2)
    end(database, token, 1)


def test_a_discard_deletes_the_scores_of_all_parts_and_may_be_interrupted(
    database: Database, database_url: str
) -> None:
    first, second = begin(database, 1), begin(database, 2)
    end(database, first, 1)
    database.holds.hold_plan(second, WHY)
    database.holds.begin_discard(Deciding("plan", "jo", "broken"))
    assert next(database.holds.delete_scores("plan", 1)) == 1
    with pytest.raises(SupersededRun):
        record(database, [predicted("b9", 0.9)], token=second)  # it still ran
    with pytest.raises(SettingsError, match="is being discarded: run `sniffer discard plan` again"):
        database.holds.release(Deciding("plan", "jo", "checked"))
    with pytest.raises(HeldScan):
        next_part(database, ShardChoice("plan", 3))
    assert rows(database_url, FLAGGED) == []
    assert database.holds.discard(Deciding("plan", "al", "broken"), batch_rows=2).results == 5
    assert rows(database_url, "SELECT COUNT(*) FROM predictions") == [(0,)]
    assert rows(database_url, HELD) == []
    states = rows(database_url, "SELECT scan_id, state, run_number FROM scans ORDER BY scan_id")
    assert states == [("plan", "running", 0), ("plan.1", "discarded", 3), ("plan.2", "discarded", 3)]
    change(database_url, "DELETE FROM leases")  # of the second, which was fenced off
    # They are scored again, count once, and are judged anew.
    for shard in (1, 2, 3):
        end(database, begin(database, shard, flagged=1), shard)
    with_shards = database.holds.plan_counts(FencingToken(2, 0))
    assert with_shards.total == FlagCounts(9, 3) and with_shards.released == ""
    assert database.shards.certify("plan", add_up, judged("")).holds
    assert rows(database_url, FLAGGED) == [("a0",), ("b0",), ("c0",)]


def test_the_whole_is_judged_when_it_is_certified(database: Database, database_url: str) -> None:
    for shard in (1, 2, 3):
        end(database, begin(database, shard), shard)
    asked: list[Any] = []

    def reason(*given: Any) -> str:
        asked.append(given)
        return WHY

    whole = database.shards.certify("plan", add_up, PlanJudge(60, 3, reason))
    band, past, counts = asked[0]
    assert (band, past.scan_id, past.history, past.shard) == ("auto", "plan", (), 0)
    assert counts.shards == tuple(ShardFlags(shard, 10, True, FlagCounts(3, 2)) for shard in (1, 2, 3))
    assert whole.is_held and database.scans.certificate("plan") == whole
    assert rows(database_url, HELD) == [("plan",), ("plan.1",), ("plan.2",), ("plan.3",)]
    assert rows(database_url, FLAGGED) == []
    # Asked again, it stays held; nothing is left that could begin, so nobody is refused.
    assert database.shards.certify("plan", add_up, judged("")).is_held
    assert isinstance(next_part(database, ShardChoice("plan", 2)), Certificate)
    assert database.holds.release(Deciding("plan", "jo", "checked")).is_finished
    assert len(rows(database_url, FLAGGED)) == 6
    assert database.shards.certify("plan", add_up, judged(WHY)).holds
    # What is complete is past, and not judged again.
    after = database.scans.open(ScanRequest("after", "bkt"), 1, 0.5)
    assert database.holds.flag_history(after, 60) == (FlagCounts(9, 6),)
    assert database.holds.plan_past(after, 60, 3) is None


def test_the_shards_of_past_plans_tell_how_shards_differ(database: Database) -> None:
    for shard in (1, 2, 3):
        end(database, begin(database, shard, flagged=shard), shard)
    database.shards.certify("plan", add_up)
    next_plan = dataclasses.replace(WHOLE, scan_id="next")
    database.shards.plan(next_plan, 1, 0.5, [(KeyRange("", "m"), 5), (KeyRange("m"), 5)])
    part = next_part(database, ShardChoice("next", 2))
    assert isinstance(part, NextPart)
    past = database.holds.plan_past(database.scans.open(part.request, 1, 0.5), 60, 3)
    assert past is not None and (past.scan_id, past.shard, past.part) == ("next", 2, 1)
    assert past.history == (FlagCounts(9, 6),)
    assert past.past_shards == ((FlagCounts(3, 1), FlagCounts(3, 2), FlagCounts(3, 3)),)


def test_another_threshold_meanwhile_is_told(database: Database) -> None:
    begin(database, 1)
    part = next_part(database, ShardChoice("plan", 2))
    assert isinstance(part, NextPart)
    token = database.scans.open(part.request, 1, 0.7)
    assert not database.holds.plan_counts(token).is_mixed, "it has scored nothing yet"
    record(database, [predicted("b", 0.8)], token=token)
    assert database.holds.plan_counts(token).is_mixed


def test_no_part_begins_between_the_look_and_the_hold(database: Database, database_url: str) -> None:
    begin(database, 1)
    part = next_part(database, ShardChoice("plan", 2))
    assert isinstance(part, NextPart)
    found: list[object] = []

    def begin_another() -> None:
        with Database(DatabaseSettings(database_url)) as own:
            try:
                found.append(own.scans.open(part.request, 1, 0.5))
            except HeldScan as error:
                found.append(error)

    engine, thread = create_engine(database_url), threading.Thread(target=begin_another)
    with engine.begin() as connection:  # the hold, which has not committed yet
        connection.execute(text("SELECT number FROM scans WHERE scan_id = 'plan' FOR UPDATE"))
        thread.start()
        thread.join(0.3)
        waited = thread.is_alive()
        connection.execute(text("INSERT INTO holds SELECT number, 'so', NOW(6) FROM scans WHERE scan_id = 'plan'"))
    engine.dispose()
    thread.join()
    assert waited and isinstance(found[0], HeldScan)


class AtOnce(Executor):
    """Does what it is asked for when it is asked."""

    def submit(self, work: Any, /, *words: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*words, **named))
        return done


def test_one_part_sees_the_flood_of_all_and_each_other_stops(database: Database, database_url: str) -> None:
    """Eight past nights of 1 %; two shards of 150 images are too small to be judged alone, and flood together."""
    nights = [database.scans.open(ScanRequest(f"night-{number}", "bkt"), 1, 0.5) for number in range(8)]
    tokens = [begin(database, shard, flagged=0) for shard in (1, 2)]
    many = [f"({token.scan_number}, 1, 7, 'predicted', '', 300, 3, REPEAT(CHAR(0), 32))" for token in nights]
    many += [f"({token.scan_number}, 1, 7, 'predicted', '', 150, 100, REPEAT(CHAR(0), 32))" for token in tokens]
    change(database_url, f"INSERT INTO tallies VALUES {', '.join(many)}")
    # As if they had been before the plan; they are complete, and their numbers are smaller.
    change(database_url, "UPDATE scans SET state = 'complete', number = number - 100 WHERE scan_id LIKE 'night%'")
    change(database_url, "UPDATE tallies SET scan_number = scan_number - 100 WHERE images = 300")
    clock = [0.0]
    first, second = (FloodBreaker(database.holds, FloodRule(), AtOnce(), lambda: clock[0], lambda: 150) for _ in tokens)
    hold = first.judge(database.holds, tokens[0], is_finished=True)
    assert hold.reason == "" and hold.whole.startswith("of all 3 shards together, 200 of 306 scored images are flagged")
    second.check(tokens[1])  # it has looked, and is told by the next check
    database.holds.hold_plan(tokens[0], hold.whole)
    with pytest.raises(IncompleteScan, match="stopped early, since of all 3 shards together, 200 of 306"):
        second.check(tokens[1])
    assert second.judge(database.holds, tokens[1], is_finished=False).whole == hold.whole
    third = FloodBreaker(database.holds, FloodRule(), AtOnce(), lambda: clock[0], lambda: 0)
    third.check(tokens[1])
    clock[0] += 3 * LOOK_S
    with pytest.raises(IncompleteScan, match="scan plan is held, of which this is a shard: of all 3 shards together"):
        third.check(tokens[1])


def test_a_run_that_was_fenced_off_holds_nothing_any_more(database: Database, database_url: str) -> None:
    """It saw the flood before the whole was discarded, and comes back from the dead after it."""
    first, second = begin(database, 1), begin(database, 2)
    database.holds.hold_plan(first, WHY)
    database.holds.discard(Deciding("plan", "jo", "broken"))
    with pytest.raises(SupersededRun):
        database.holds.hold_plan(second, WHY)
    assert rows(database_url, HELD) == []
    assert rows(database_url, "SELECT state FROM scans WHERE scan_id = 'plan'") == [("running",)]


def test_what_is_half_discarded_stays_held_when_the_whole_is_released(database: Database, database_url: str) -> None:
    first, second = begin(database, 1), begin(database, 2)
    end(database, second, 2, held="of shard 2 of 3, too many")
    database.holds.begin_discard(Deciding("plan.2", "jo", "broken"))  # and is killed
    database.holds.hold_plan(first, WHY)
    database.holds.release(Deciding("plan", "jo", "checked"))
    assert rows(database_url, FLAGGED) == [("a0",), ("a1",)]
    assert rows(database_url, HELD) == [("plan.2",)]
    with pytest.raises(HeldScan, match=r"scan plan\.2 is held"):
        begin(database, 3)
    assert database.holds.discard(Deciding("plan.2", "jo", "broken")).results == 3
    assert rows(database_url, HELD) == []
    end(database, begin(database, 3), 3)


def test_a_plan_that_was_given_up_keeps_its_model_again_once_it_is_released(database: Database) -> None:
    token = begin(database, 1)
    database.shards.give_up("plan")
    database.holds.hold_plan(token, WHY)  # by the shard that still ran
    assert [plan.scan_id for plan in database.shards.half_done()] == ["plan"]
    database.holds.release(Deciding("plan", "jo", "checked"))
    assert [plan.scan_id for plan in database.shards.half_done([1])] == ["plan"]
