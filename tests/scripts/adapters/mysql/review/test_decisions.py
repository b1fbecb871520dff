"""Leases and decisions: one holder, nothing twice, nothing lost, and what takes a decision back."""

from __future__ import annotations

import dataclasses
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import MySQLdb
import pytest
from sqlalchemy.engine.default import DefaultDialect
from support.reviewed import LEASE_S, decide, flag, item_of, reason_of, submit, waiting
from support.stored_rows import WHEN, change, listed, predicted, record, rows

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.mysql.review import storing_decisions
from sniffer.core.errors import DecisionRefused, SettingsError
from sniffer.core.review_records import (
    EVERYTHING,
    ImportedDecision,
    NewDecision,
    Reason,
    ReviewDecision,
    SecondReview,
    counting_decision,
)
from sniffer.core.settings import DatabaseSettings

pytestmark = pytest.mark.both_servers

DRUG, NOT_DRUG, UNSURE, WITHDRAWN = ReviewDecision
EVERY_ONE = SecondReview(1.0)
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
AROUND = (TODAY - timedelta(days=1), TODAY + timedelta(days=2))


def test_two_reviewers_never_hold_one_image(database: Database, database_url: str) -> None:
    """Many at once ask for all images: each image has one holder, and each holder is told of exactly theirs."""
    flag(database, {f"k{number}": 0.9 for number in range(40)})
    ids = [item.image_id for item in database.review_queue.page(EVERYTHING, "ann", 99).items]
    taken: dict[str, set[int]] = {}
    start = threading.Barrier(6)

    def ask(reviewer: str) -> None:
        with Database(DatabaseSettings(database_url, patience_s=30)) as own:
            own.check()
            start.wait()
            taken[reviewer] = own.review_leases.take(ids[:: 1 if reviewer < "r3" else -1], reviewer, LEASE_S)

    threads = [threading.Thread(target=ask, args=(f"r{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 6
    assert sorted(image_id for mine in taken.values() for image_id in mine) == sorted(ids)
    stored = set(rows(database_url, "SELECT image_id, reviewer FROM review_leases"))
    assert stored == {(image_id, reviewer) for reviewer, mine in taken.items() for image_id in mine}


def test_a_lease_hides_renews_ends_and_is_given_back(database: Database, database_url: str) -> None:
    flag(database, {"a": 0.6, "b": 0.9})
    ids = [item_of(database, key).image_id for key in ("a", "b")]
    leases = database.review_leases
    assert leases.take(ids, "ann", LEASE_S) == set(ids) == leases.take(ids, "ann", LEASE_S)
    assert leases.take(ids, "bob", LEASE_S) == leases.renew(ids, "bob", LEASE_S) == set()
    assert waiting(database) == ["b", "a"] and waiting(database, "bob") == []
    assert [item.key for item in leases.held("ann")] == ["a", "b"]
    assert leases.renew(ids, "ann", LEASE_S) == set(ids)
    leases.give_back(ids[:1], "bob")
    leases.give_back(ids[1:], "ann")
    assert waiting(database, "bob") == ["b"]
    # Whoever is lost loses it: the server's clock ends the lease.
    change(database_url, "UPDATE review_leases SET lease_until = UTC_TIMESTAMP(6)")
    assert leases.renew(ids, "ann", LEASE_S) == set() and leases.held("ann") == []
    assert leases.take(ids, "bob", LEASE_S) == set(ids)


def test_only_who_holds_an_image_decides_it(database: Database, database_url: str) -> None:
    flag(database, {"a": 0.6, "b": 0.9})
    a, b = (item_of(database, key).image_id for key in ("a", "b"))
    with pytest.raises(DecisionRefused, match=f"image {a} is not open before ann any more"):
        submit(database, [NewDecision(a, NOT_DRUG)])
    database.review_leases.take([a], "ann", LEASE_S)
    database.review_leases.take([b], "bob", LEASE_S)
    with pytest.raises(DecisionRefused, match=f"image {b} is open before somebody else"):
        submit(database, [NewDecision(a, NOT_DRUG), NewDecision(b, NOT_DRUG)])
    assert rows(database_url, "SELECT * FROM review_decisions") == []
    change(database_url, "UPDATE review_leases SET lease_until = UTC_TIMESTAMP(6)")
    with pytest.raises(DecisionRefused, match="its time was over"):
        submit(database, [NewDecision(a, NOT_DRUG)])


def test_a_submission_is_stored_once_however_often_and_at_once_it_is_sent(
    database: Database, database_url: str
) -> None:
    flag(database, {"a": 0.6, "b": 0.9})
    ids = [item_of(database, key).image_id for key in ("a", "b")]
    database.review_leases.take(ids, "ann", LEASE_S)
    news = [NewDecision(image_id, NOT_DRUG, batch="b" * 32) for image_id in ids]
    numbers: list[list[int]] = []

    def send() -> None:
        with Database(DatabaseSettings(database_url, patience_s=30)) as own:
            numbers.append(own.review_decisions.add(news, reviewer="ann", submit_key="once"))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    send()
    assert len(numbers) == 5 and len({tuple(each) for each in numbers}) == 1
    assert [row.number for image_id in ids for row in database.review_decisions.of_image(image_id)] == numbers[0]
    # Another answer under the same key, after one whose reply was lost, is never said to be saved.
    changed = [NewDecision(ids[0], DRUG, Reason.OTHER, batch="b" * 32), news[1]]
    noted = [dataclasses.replace(news[0], note="n"), news[1]]
    for other, reviewer in ((news[:1], "ann"), (news, "bob"), (changed, "ann"), (noted, "ann")):
        with pytest.raises(DecisionRefused, match="the submission once is stored already, with other decisions"):
            database.review_decisions.add(other, reviewer=reviewer, submit_key="once")


def test_a_commit_whose_answer_is_lost_stores_once_and_loses_nothing(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag(database, {"a": 0.9, "b": 0.8})
    a, b = (item_of(database, key).image_id for key in ("a", "b"))
    losing = [True]

    def commit(_dialect: object, connection: Any) -> None:
        connection.commit()
        if losing and losing.pop():
            connection.close()
            raise MySQLdb.OperationalError(2013, "Lost connection to server during query")

    monkeypatch.setattr(DefaultDialect, "do_commit", commit)
    assert database.review_leases.take([a], "ann", LEASE_S) == {a} and not losing
    losing.append(True)
    numbers = submit(database, [NewDecision(a, NOT_DRUG)])
    assert not losing
    assert [row.number for row in database.review_decisions.of_image(a)] == numbers
    losing.append(True)
    told = [ImportedDecision(b, NOT_DRUG, "jo")]
    report = database.review_decisions.add_imported(told, submit_key="file")
    assert not losing and report.refused == ()
    assert len(database.review_decisions.of_image(b)) == 1
    assert rows(database_url, "SELECT * FROM review_leases") == []


def test_a_decision_is_of_the_server_s_time_whatever_a_client_s_clock_says(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag(database, {"a": 0.9})
    monkeypatch.setattr(storing_decisions, "utc_now", lambda: datetime(2001, 1, 1))  # noqa: DTZ001 - as MySQL has it
    decide(database, "a")
    assert abs(database.review_decisions.latest(1)[0].row.decided_at - datetime.now(UTC)) < timedelta(minutes=5)


def test_a_decision_keeps_what_was_seen(database: Database, database_url: str) -> None:
    flag(database, {"a": 0.6})
    item = item_of(database, "a")
    database.review_leases.take([item.image_id], "ann", LEASE_S)
    newer = dataclasses.replace(listed("a", etag="e2"), last_modified=WHEN + timedelta(hours=1))
    record(database, [dataclasses.replace(predicted("a", 0.1), image=newer)], scan_id="next")
    change(database_url, "UPDATE models SET threshold = 0.7 WHERE version = 1")
    database.review_queue.refresh()
    assert [held.is_replaced for held in database.review_leases.held("ann")] == [True]
    new = NewDecision(item.image_id, DRUG, Reason.OTHER, "<b>a note</b> \U0001f600", was_unblurred=True)
    number = submit(database, [new])[0]
    (row,) = database.review_decisions.of_image(item.image_id)
    assert (row.number, row.reason, row.note, row.reviewer) == (number, Reason.OTHER, new.note, "ann")
    assert (row.score, row.threshold, row.model_version, row.entered_by, row.probability) == (0.6, 0.5, 1, "flagged", 1)
    assert row.was_replaced and row.was_unblurred and row.is_live and row.content_hash == item.content_hash


def test_undo_and_correction(database: Database) -> None:
    flag(database, {"a": 0.6})
    first = decide(database, "a")
    image_id = database.review_decisions.latest(1)[0].row.image_id
    with pytest.raises(DecisionRefused, match=f"has decided it already .decision {first}."):
        submit(database, [NewDecision(image_id, NOT_DRUG)])
    (corrected,) = submit(database, [NewDecision(image_id, NOT_DRUG, replaces=first)])
    with pytest.raises(DecisionRefused, match="was corrected or taken back already"):
        submit(database, [NewDecision(image_id, DRUG, Reason.OTHER, replaces=first)])
    with pytest.raises(DecisionRefused, match=f"decision {corrected} is ann's"):
        submit(database, [NewDecision(image_id, WITHDRAWN, replaces=corrected)], "bob")
    assert waiting(database) == []
    submit(database, [NewDecision(image_id, WITHDRAWN, replaces=corrected)])
    assert waiting(database) == ["a"]
    assert [row.is_live for row in database.review_decisions.of_image(image_id)] == [False, False, False]
    decide(database, "a", reviewer="bob")
    assert waiting(database) == []


def test_a_share_has_a_second_reviewer_and_a_lead_settles_what_they_disagree_on(database: Database) -> None:
    flag(database, {"same": 0.9, "other": 0.8, "open": 0.7})
    for key in ("same", "other"):
        decide(database, key, DRUG, "ann", second=EVERY_ONE)
    assert waiting(database, "ann") == ["open"]
    assert set(waiting(database, "bob")) == {"same", "other", "open"}
    decide(database, "same", DRUG, "bob", second=EVERY_ONE)
    decide(database, "other", NOT_DRUG, "bob", second=EVERY_ONE)
    assert waiting(database, "bob") == waiting(database, "cyd") == ["open"]
    assert database.review_queue.backlog(for_lead=True) == 1
    agreement = database.review_decisions.agreement(*AROUND)
    assert (agreement.pairs, agreement.kappa) == (2, 0.0)
    item = item_of(database, "other", "lea", for_lead=True)
    assert database.review_leases.take([item.image_id], "cyd", LEASE_S) == set()
    decide(database, "other", NOT_DRUG, "lea", is_lead=True)
    assert database.review_queue.backlog(for_lead=True) == 0
    decided = database.review_decisions.of_image(item.image_id)
    counting = counting_decision([row for row in decided if row.is_live])
    assert counting is not None and (counting.reviewer, counting.entered_by) == ("lea", "appeal")


def test_who_is_not_sure_leaves_it_to_a_lead(database: Database) -> None:
    flag(database, {"a": 0.9})
    decide(database, "a", UNSURE)
    assert waiting(database, "bob") == [] and database.review_queue.backlog(for_lead=True) == 1
    image_id = database.review_decisions.latest(1)[0].row.image_id
    database.review_leases.take([image_id], "bob", LEASE_S, for_lead=True)
    with pytest.raises(DecisionRefused, match="only a lead settles"):
        submit(database, [NewDecision(image_id, NOT_DRUG)], "bob")


def test_a_lead_who_disagrees_settles_it_and_leaves_nothing_open(database: Database) -> None:
    flag(database, {"a": 0.9})
    decide(database, "a", DRUG, "lea", second=EVERY_ONE)
    decide(database, "a", NOT_DRUG, "ann", second=EVERY_ONE)
    with pytest.raises(DecisionRefused, match="as drug or not_drug, or leaves it to another"):
        decide(database, "a", UNSURE, "lea", is_lead=True)
    number = decide(database, "a", NOT_DRUG, "lea", is_lead=True)
    assert database.review_queue.backlog(for_lead=True) == 0
    image_id = database.review_decisions.latest(1)[0].row.image_id
    with pytest.raises(DecisionRefused, match="or leaves it to another"):
        submit(database, [NewDecision(image_id, UNSURE, replaces=number)], "lea", is_lead=True)
    with pytest.raises(DecisionRefused, match="only a lead corrects what was settled"):
        submit(database, [NewDecision(image_id, WITHDRAWN, replaces=number)], "lea")
    counting = counting_decision([row for row in database.review_decisions.of_image(image_id) if row.is_live])
    assert counting is not None and (counting.number, counting.decision) == (number, NOT_DRUG)


def test_an_appeal_settles_what_was_decided_long_ago(database: Database) -> None:
    flag(database, {"a": 0.9})
    decide(database, "a", DRUG)
    image_id = database.review_decisions.latest(1)[0].row.image_id
    appeal = NewDecision(image_id, NOT_DRUG, note="the owner is a pharmacy", is_appeal=True)
    with pytest.raises(DecisionRefused, match="only a lead"):
        submit(database, [appeal], "bob")
    submit(database, [appeal], "ann", is_lead=True)
    live = [row for row in database.review_decisions.of_image(image_id) if row.is_live]
    counting = counting_decision(live)
    assert counting is not None and counting.decision is NOT_DRUG


def test_a_first_decision_that_is_taken_back_ends_the_wait_for_a_second(database: Database) -> None:
    flag(database, {"a": 0.9})
    number = decide(database, "a", second=EVERY_ONE)
    image_id = database.review_decisions.latest(1)[0].row.image_id
    assert waiting(database, "ann") == []
    submit(database, [NewDecision(image_id, WITHDRAWN, replaces=number)], second=EVERY_ONE)
    assert item_of(database, "a", "ann").entered_by == "flagged"


def test_figures_by_day_and_reviewer(database: Database) -> None:
    flag(database, {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6})
    decide(database, "a", DRUG)
    decide(database, "b", NOT_DRUG)
    decide(database, "c", NOT_DRUG, "bob")
    item = item_of(database, "d")
    database.review_leases.take([item.image_id], "ann", LEASE_S)
    (number,) = submit(database, [NewDecision(item.image_id, NOT_DRUG, batch="b" * 32, was_unblurred=True)])
    submit(database, [NewDecision(item.image_id, WITHDRAWN, replaces=number)])
    ann, bob = database.review_decisions.figures(*AROUND)
    assert (ann.reviewer, ann.drug, ann.not_drug, ann.unsure, ann.withdrawn) == ("ann", 1, 2, 0, 1)
    assert (ann.batches, ann.unblurred, ann.exposures) == (1, 1, 2)
    assert (bob.reviewer, bob.not_drug, bob.exposures) == ("bob", 1, 0)
    assert database.review_decisions.figures(TODAY + timedelta(days=2), TODAY + timedelta(days=3)) == []
    assert [each.row.number for each in database.review_decisions.latest(2, reviewer="ann")] == [number + 1, number]
    assert [each.row.reviewer for each in database.review_decisions.latest(1, before=number)] == ["bob"]


def test_imports_may_come_again_and_correct_themselves(database: Database) -> None:
    flag(database, {"a": 0.9, "b": 0.8, "c": 0.7})
    a, b, c = (item_of(database, key).image_id for key in ("a", "b", "c"))
    database.review_leases.take([c], "ann", LEASE_S)
    told = [
        ImportedDecision(a, DRUG, "coop", Reason.CANNABIS),
        ImportedDecision(b, NOT_DRUG, "coop", content_hash=b"x" * 32),
        ImportedDecision(c, NOT_DRUG, "coop"),
        ImportedDecision(10**9, NOT_DRUG, "coop"),
    ]
    report = database.review_decisions.add_imported(told, submit_key="one")
    assert (report.added, report.unchanged) == (1, 0)
    assert [f"image {each}" in said for each, said in zip((b, c, 10**9), report.refused, strict=True)] == [True] * 3
    assert database.review_decisions.add_imported(told[:1], submit_key="two").unchanged == 1
    assert (
        database.review_decisions.add_imported([ImportedDecision(a, NOT_DRUG, "coop")], submit_key="three").added == 1
    )
    assert [row.decision for row in database.review_decisions.of_image(a) if row.is_live] == [NOT_DRUG]
    assert waiting(database, "bob") == ["b"]


def test_what_an_import_could_not_store_is_tried_again(database: Database, database_url: str) -> None:
    flag(database, {"a": 0.9, "b": 0.8})
    a, b = (item_of(database, key).image_id for key in ("a", "b"))
    database.review_leases.take([b], "ann", LEASE_S)
    told = [ImportedDecision(image_id, NOT_DRUG, "jo") for image_id in (a, b)]
    first = database.review_decisions.add_imported(told, submit_key="file")
    assert first.added == 1 and "is open before ann: send it again later" in first.refused[0]
    database.review_leases.give_back([b], "ann")
    # What was stored and corrected since stays corrected.
    number = database.review_decisions.of_image(a)[0].number
    submit(database, [NewDecision(a, DRUG, Reason.OTHER, replaces=number)], "jo")
    again = database.review_decisions.add_imported(told, submit_key="file")
    assert (again.added, again.unchanged, again.refused) == (1, 1, ())
    assert [row.decision for row in database.review_decisions.of_image(a) if row.is_live] == [DRUG]
    assert database.review_decisions.add_imported(told, submit_key="file").unchanged == 2
    database.review_decisions.add_imported(told[1:], submit_key="other")
    assert rows(database_url, "SELECT * FROM review_leases") == []


def test_an_import_does_not_undo_what_a_lead_has_settled(database: Database) -> None:
    flag(database, {"a": 0.9})
    decide(database, "a", DRUG)
    image_id = database.review_decisions.latest(1)[0].row.image_id
    submit(database, [NewDecision(image_id, NOT_DRUG, is_appeal=True)], "lea", is_lead=True)
    for said in (DRUG, WITHDRAWN):
        told = [ImportedDecision(image_id, said, "lea", reason_of(said))]
        report = database.review_decisions.add_imported(told, submit_key=said)
        assert "lea has settled it as a lead" in report.refused[0]
    live = [row for row in database.review_decisions.of_image(image_id) if row.is_live]
    counting = counting_decision(live)
    assert counting is not None and counting.decision is NOT_DRUG


def test_erasing_takes_what_was_decided_and_pruning_does_not(database: Database, database_url: str) -> None:
    flag(database, {"a": 0.9, "b": 0.8})
    decide(database, "a")
    pruned = database.retention.prune(
        scored_before=datetime.now(UTC) + timedelta(days=1), model_versions=[], batch_rows=10
    )
    assert [removed.images for _, removed in pruned] == [1]
    assert [each.key for page in database.review_decisions.live_pages() for each in page] == ["a"]
    for _ in database.retention.erase("bkt", "a", "", batch_rows=10):
        pass
    assert rows(database_url, "SELECT * FROM review_decisions") == []


def test_what_cannot_be_a_decision_is_refused(database: Database) -> None:
    for wrong in (
        {"decision": DRUG},
        {"decision": NOT_DRUG, "reason": Reason.OTHER},
        {"decision": WITHDRAWN},
        {"decision": NOT_DRUG, "note": "x" * 2001},
        {"decision": NOT_DRUG, "batch": "short"},
        {"decision": UNSURE, "is_appeal": True},
    ):
        with pytest.raises(SettingsError, match="image 1"):
            NewDecision(1, **wrong)
    with pytest.raises(SettingsError, match="one decision for an image"):
        submit(database, [NewDecision(1, NOT_DRUG), NewDecision(1, DRUG, reason_of(DRUG))])
    with pytest.raises(SettingsError, match="reviewer"):
        submit(database, [NewDecision(1, NOT_DRUG)], "")
    with pytest.raises(DecisionRefused, match="image 1 is not there any more"):
        submit(database, [NewDecision(1, NOT_DRUG)])
