"""Images drawn at random: a drug among the unflagged ones is confirmed, and what is erased leaves no trace."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from support.reviewed import decide, flag, submit, waiting
from support.stored_rows import change, rows

from sniffer.adapters.mysql.database import Database
from sniffer.core.review_records import EnteredBy, ImportedDecision, NewDecision, Reason, ReviewDecision
from sniffer.core.sample_records import NightlySample, SampledImage, SampleStratum

pytestmark = pytest.mark.both_servers

DRUG, NOT_DRUG, UNSURE, WITHDRAWN = ReviewDecision
NIGHT = date(2026, 11, 20)
AROUND = (datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=1))


def drawn(database: Database, database_url: str, scores: dict[str, float]) -> dict[str, int]:
    """These images, all of them drawn; the number of each."""
    flag(database, scores)
    found = rows(
        database_url,
        "SELECT i.key_text, i.image_id, p.score FROM images i JOIN predictions p ON p.image_id = i.image_id",
    )
    images = tuple(SampledImage(int(str(one)), 1, float(str(score)), 1, 0.25) for _, one, score in found)
    strata = (SampleStratum(1, 0.0, 1.0, 4 * len(images), len(images), 0.25),)
    assert database.review_samples.add(NightlySample(NIGHT, 1, strata, images))
    return {str(key): int(str(image)) for key, image, _ in found}


def test_an_unflagged_image_is_no_drug_on_one_word(database: Database, database_url: str) -> None:
    ids = drawn(database, database_url, {"flagged": 0.9, "drug": 0.2, "other": 0.1, "elsewhere": 0.1, "back": 0.1})
    for key, said in (("flagged", DRUG), ("drug", DRUG), ("other", NOT_DRUG), ("back", DRUG)):
        decide(database, key, said)
    told = [ImportedDecision(ids["elsewhere"], DRUG, "jo", Reason.OTHER)]
    assert database.review_decisions.add_imported(told, submit_key="file").added == 1
    # Nobody confirms their own, and what was taken back is nobody's to confirm.
    assert waiting(database, "ann") == ["elsewhere"]
    number = database.review_decisions.of_image(ids["back"])[0].number
    submit(database, [NewDecision(ids["back"], NOT_DRUG, replaces=number)])
    assert sorted(waiting(database, "bob")) == ["drug", "elsewhere"]
    decide(database, "drug", DRUG, "bob")
    decide(database, "elsewhere", NOT_DRUG, "bob")
    assert waiting(database, "bob") == waiting(database, "cyd") == []
    assert database.review_queue.backlog(for_lead=True) == 1
    # Whoever is asked because of the first one's answer tells nothing of how far two agree.
    assert database.review_decisions.agreement(*AROUND).pairs == 0
    last = database.review_decisions.of_image(ids["drug"])[-1]
    assert (last.entered_by, last.probability) == (EnteredBy.SECOND, 0.25)


def test_an_erased_image_leaves_its_sample_and_nothing_else(database: Database, database_url: str) -> None:
    ids = drawn(database, database_url, {"gone": 0.9, "held": 0.8, "kept": 0.2})
    database.near_duplicates.store(dict.fromkeys(ids.values(), b"12345678"))
    decide(database, "gone", UNSURE)
    decide(database, "kept", NOT_DRUG)
    database.review_leases.take([ids["held"]], "ann", 300)
    for key in ("gone", "held"):
        list(database.retention.erase("bkt", key, "", batch_rows=10))
    tables = ("review_decisions", "review_queue", "review_leases", "review_samples", "near_duplicates")
    for table in tables:
        numbers = {row[0] for row in rows(database_url, f"SELECT image_id FROM {table}")}
        assert numbers <= {ids["kept"]}, table
    assert [one.image.image_id for one in database.review_samples.reviewed(NIGHT, 1)] == [ids["kept"]]
    # What the frame was stays: how many there were tells of nobody.
    assert [(one.population, one.drawn) for one in database.review_samples.strata(NIGHT, 1)] == [(12, 3)]


def test_what_an_older_release_draws_beside_this_one_has_its_drawn_share_as_chance(
    database: Database, database_url: str
) -> None:
    drawn(database, database_url, {"a": 0.9, "b": 0.2})
    change(database_url, "UPDATE review_sample_strata SET probability = NULL")
    (stratum,) = database.review_samples.strata(NIGHT, 1)
    assert stratum == SampleStratum(1, 0.0, 1.0, 8, 2, 0.25) and type(stratum.probability) is float
