"""The same bytes that were decided both ways under different keys: a lead settles them for all keys."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import timedelta

import pytest
from support.many_rows import counted_reads
from support.reviewed import decide, flag, submit
from support.stored_rows import WHEN, change, listed, predicted, record

from sniffer.adapters.mysql.database import Database
from sniffer.core.review_records import EVERYTHING, ImportedDecision, NewDecision, Reason, ReviewDecision, SecondReview

pytestmark = pytest.mark.both_servers

DRUG, NOT_DRUG, UNSURE, WITHDRAWN = ReviewDecision
SAME = b"the same bytes"


def flag_same(database: Database, keys: Sequence[str], content: bytes = SAME) -> dict[str, int]:
    """Images of the same bytes under these keys, flagged; their numbers."""
    flag(database, {})
    record(database, [predicted(key, 0.9, content) for key in keys], scan_id="same")
    database.review_queue.refresh()
    items = database.review_queue.page(EVERYTHING, "ann", 99).items
    return {item.key: item.image_id for item in items if item.key in keys}


def for_leads(database: Database) -> list[str]:
    page = database.review_queue.page(EVERYTHING, "lea", 99, for_lead=True)
    return [item.key for item in page.items]


def test_a_lead_sees_one_of_them_and_settles_all(database: Database) -> None:
    flag_same(database, ["a", "b", "c"])
    decide(database, "a", DRUG)
    decide(database, "b", NOT_DRUG, "bob")
    assert for_leads(database) == ["b"]
    decide(database, "c", NOT_DRUG, "bob")
    assert for_leads(database) == ["b"]
    said = database.review_decisions.about_same_bytes(
        database.review_queue.page(EVERYTHING, "lea", 1, for_lead=True).items[0].image_id, 9
    )
    assert [(each.key, each.row.decision) for each in said] == [("a", DRUG), ("b", NOT_DRUG), ("c", NOT_DRUG)]
    decide(database, "b", DRUG, "lea", is_lead=True)
    assert for_leads(database) == []
    # Not anew either, by what comes after it.
    flag_same(database, ["a", "b", "c", "d"])
    decide(database, "d", NOT_DRUG)
    database.review_queue.refresh()
    assert for_leads(database) == []


def test_a_correction_settles_it_and_taking_the_lead_s_word_back_opens_it(database: Database) -> None:
    ids = flag_same(database, ["a", "b"])
    first = decide(database, "a", DRUG)
    decide(database, "b", NOT_DRUG, "bob")
    assert for_leads(database) == ["b"]
    (corrected,) = submit(database, [NewDecision(ids["a"], NOT_DRUG, replaces=first)])
    assert for_leads(database) == []
    submit(database, [NewDecision(ids["a"], DRUG, Reason.OTHER, replaces=corrected)])
    assert for_leads(database) == ["a"]
    (settled,) = submit(database, [NewDecision(ids["b"], DRUG, Reason.OTHER, is_appeal=True)], "lea", is_lead=True)
    assert for_leads(database) == []
    submit(database, [NewDecision(ids["b"], WITHDRAWN, replaces=settled)], "lea", is_lead=True)
    assert for_leads(database) == ["a"]


def test_a_lead_s_word_settles_what_is_open_under_another_key(database: Database) -> None:
    ids = flag_same(database, ["a", "b"])
    decide(database, "a", UNSURE)
    assert for_leads(database) == ["a"]
    decide(database, "b", DRUG)
    assert for_leads(database) == ["a"]
    submit(database, [NewDecision(ids["b"], DRUG, Reason.OTHER, is_appeal=True)], "lea", is_lead=True)
    assert for_leads(database) == []
    flag_same(database, ["c"])
    decide(database, "c", UNSURE)
    assert for_leads(database) == []


def test_decisions_of_other_programs_come_before_a_lead_too(database: Database) -> None:
    ids = flag_same(database, ["a", "b"])
    both = [ImportedDecision(ids["a"], DRUG, "tool", Reason.OTHER), ImportedDecision(ids["b"], NOT_DRUG, "tool")]
    assert database.review_decisions.add_imported(both, submit_key="one").added == 2
    assert for_leads(database) == ["b"]


def test_the_one_that_a_lead_is_to_see_is_of_the_present(database: Database, database_url: str) -> None:
    flag_same(database, ["a", "b"])
    decide(database, "a", DRUG)
    decide(database, "b", NOT_DRUG, "bob")
    assert for_leads(database) == ["b"]
    newer = dataclasses.replace(listed("b", etag="e2"), last_modified=WHEN + timedelta(hours=1))
    record(database, [dataclasses.replace(predicted("b", 0.1, b"other"), image=newer)], scan_id="next")
    database.review_queue.refresh()
    assert for_leads(database) == []
    change(database_url, "DELETE FROM leases")  # once the scan has ended
    database.review_queue.refresh()
    assert for_leads(database) == ["a"]


def test_who_waits_for_a_second_reviewer_gets_that_one_first(database: Database) -> None:
    flag_same(database, ["a", "b"])
    for key, said in (("a", DRUG), ("b", NOT_DRUG)):
        decide(database, key, said, second=SecondReview(1.0))
    assert for_leads(database) == []
    for key, said in (("a", DRUG), ("b", NOT_DRUG)):
        decide(database, key, said, "bob", second=SecondReview(1.0))
        assert for_leads(database) == ["a"]


def test_bytes_that_all_decide_alike_cost_a_look_up(database: Database) -> None:
    flag_same(database, [f"k{number:03}" for number in range(120)])
    items = database.review_queue.page(EVERYTHING, "ann", 120).items
    database.review_leases.take([item.image_id for item in items], "ann", 60)
    submit(database, [NewDecision(item.image_id, NOT_DRUG) for item in items[:119]])
    with counted_reads() as reads:
        submit(database, [NewDecision(items[119].image_id, NOT_DRUG)])
    assert reads.rows < 60, "\n".join(reads.plans)
