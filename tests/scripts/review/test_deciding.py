"""Which decision counts, and which label bytes get that several people have decided."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest

from sniffer.core.errors import SettingsError
from sniffer.core.kept_images import KeptImage
from sniffer.core.review_records import (
    Agreement,
    DecidedImage,
    DecisionRow,
    EnteredBy,
    Reason,
    ReviewDecision,
    SecondReview,
    counting_decision,
    waits_for,
)
from sniffer.review.deciding import MOST_NAMED, LabelConflict, decided_labels

DRUG, NOT_DRUG, UNSURE, _ = ReviewDecision
WHEN = datetime(2026, 11, 26, tzinfo=UTC)


def row(
    number: int,
    decision: ReviewDecision = DRUG,
    reviewer: str = "ann",
    *,
    image_id: int = 1,
    entered_by: EnteredBy = EnteredBy.FLAGGED,
    content: bytes | None = b"c" * 32,
) -> DecisionRow:
    reason = Reason.OTHER if decision is DRUG else None
    return DecisionRow(
        number, image_id, content, decision, reason, "", reviewer, WHEN, 1, 0.9, 0.5, entered_by, 1.0, "", None,
        was_replaced=False, was_unblurred=False, is_live=True,
    )  # fmt: skip


def decided(found: DecisionRow, *, is_replaced: bool = False) -> DecidedImage:
    return DecidedImage(found, "bkt", f"k{found.image_id}", "e", is_replaced=is_replaced)


@dataclasses.dataclass(frozen=True)
class Found:
    """What became of decisions: labels by key, with their numbers; conflicts; and how many are open or replaced."""

    labels: list[tuple[str, str, tuple[int, ...]]]
    conflicts: list[LabelConflict]
    open: int
    replaced: int


def labels_of(found: Iterable[DecidedImage], kept: Iterable[KeptImage] = ()) -> Found:
    with decided_labels(found, kept) as labels:
        said = [(each.kept.key if each.kept else each.key, each.label, each.numbers) for each in labels.labels()]
        conflicts = labels.conflicts(99)
        assert labels.conflict_count == len(conflicts)
        return Found(said, conflicts, labels.open_count, labels.replaced_count)


@pytest.mark.parametrize(
    ("live", "chosen", "waits"),
    [
        ([], False, EnteredBy.FLAGGED),
        ([row(1)], False, None),
        ([row(1)], True, EnteredBy.SECOND),
        ([row(1), row(2, reviewer="bob")], True, None),
        ([row(1), row(2, NOT_DRUG, "bob")], False, EnteredBy.APPEAL),
        ([row(1, UNSURE)], False, EnteredBy.APPEAL),
        ([row(1, UNSURE), row(2, NOT_DRUG, "lea", entered_by=EnteredBy.APPEAL)], True, None),
    ],
)
def test_for_whom_an_image_waits(live: list[DecisionRow], chosen: bool, waits: EnteredBy | None) -> None:
    assert waits_for(live, is_chosen=chosen) is waits


def test_what_counts_is_what_all_say_or_a_lead() -> None:
    one, other = row(1), row(2, NOT_DRUG, "bob")
    assert counting_decision([]) is None
    assert counting_decision([one, other]) is counting_decision([row(1, UNSURE)]) is None
    assert counting_decision([one, row(3, reviewer="bob")]) == row(3, reviewer="bob")
    appeals = [row(number, NOT_DRUG, "lea", entered_by=EnteredBy.APPEAL) for number in (4, 5)]
    assert counting_decision([one, *appeals, other]) == appeals[1]


def test_the_same_bytes_have_one_label() -> None:
    same = [decided(row(1, image_id=1)), decided(row(2, image_id=2)), decided(row(3, NOT_DRUG, image_id=3))]
    labels = labels_of(same)
    assert labels.labels == [] and [conflict.numbers for conflict in labels.conflicts] == [(1, 2, 3)]
    assert labels.conflicts[0].where == ("bkt/k1", "bkt/k2", "bkt/k3")
    lead = decided(row(4, NOT_DRUG, "lea", image_id=1, entered_by=EnteredBy.APPEAL))
    expected = [(key, "other", (1, 2, 3, 4)) for key in ("k1", "k2", "k3")]
    assert labels_of([*same, lead]).labels == expected
    shuffled = random.Random(1).sample([*same, lead], 4)
    assert labels_of(shuffled).labels == expected
    later = decided(row(5, DRUG, "leo", image_id=2, entered_by=EnteredBy.APPEAL))
    assert {label for _, label, _ in labels_of([*same, lead, later]).labels} == {"drugs"}


def test_a_lead_s_word_is_also_about_what_is_open_under_another_key() -> None:
    unsure, lead = row(1, UNSURE, image_id=1), row(2, DRUG, "lea", image_id=2, entered_by=EnteredBy.APPEAL)
    assert labels_of([decided(unsure), decided(row(3, image_id=3))]).open == 1
    labels = labels_of(map(decided, (unsure, lead)))
    assert labels.labels == [("k1", "drugs", (1, 2)), ("k2", "drugs", (2,))] and labels.open == 0


def test_bytes_of_which_there_is_a_copy_have_one_label_of_the_copy() -> None:
    copy = KeptImage(b"c" * 32, "kept", "cc/copy", "v1", 3)
    same = [decided(row(1, image_id=1), is_replaced=True), decided(row(2, image_id=2))]
    other = decided(row(3, image_id=3, content=b"o" * 32))
    labels = labels_of([*same, other], [copy, KeptImage(b"x" * 32, "kept", "xx/copy")])
    assert labels.labels == [("cc/copy", "drugs", (1, 2)), ("k3", "drugs", (3,))]
    assert labels.replaced == 0
    gone = decided(row(4, image_id=4, content=b"g" * 32), is_replaced=True)
    assert labels_of([gone]).labels == [] and labels_of([gone]).replaced == 1
    both_ways = [*same, decided(row(5, NOT_DRUG, image_id=5))]
    assert labels_of(both_ways, [copy]).labels == [] and len(labels_of(both_ways, [copy]).conflicts) == 1


def test_of_a_campaign_the_first_decisions_are_named_and_all_have_a_label() -> None:
    count = MOST_NAMED + 20
    labels = labels_of(decided(row(number, image_id=number)) for number in range(1, count + 1))
    assert len(labels.labels) == count
    assert {len(numbers) for _, _, numbers in labels.labels} == {MOST_NAMED + 1, MOST_NAMED + 2}
    both_ways = [*(row(number, image_id=number) for number in range(1, count)), row(999, NOT_DRUG, image_id=999)]
    conflict = labels_of(map(decided, both_ways))
    assert len(conflict.conflicts[0].where) == MOST_NAMED


def test_what_is_open_or_replaced_has_no_label() -> None:
    unknown = dataclasses.replace(row(1, image_id=1), content_hash=None)
    open_one = decided(row(2, UNSURE, image_id=2, content=b"o" * 32))
    gone = decided(row(3, image_id=3, content=b"g" * 32), is_replaced=True)
    labels = labels_of([decided(unknown), open_one, gone])
    assert labels.labels == [("k1", "drugs", (1,))]
    assert (labels.open, labels.replaced, labels.conflicts) == (1, 1, [])


def test_what_was_decided_about_the_bytes_of_before_counts_no_more() -> None:
    before, unknown = row(1, DRUG, content=b"x" * 32), row(2, NOT_DRUG, "bob", content=None)
    labels = labels_of(map(decided, (before, unknown, row(3, NOT_DRUG, "cyd"))))
    assert labels.labels == [("k1", "other", (2, 3))] and labels.open == 0


def test_kappa_of_known_tables() -> None:
    # Cohen 1960's formula, by hand: po = 0.7, pe = 0.5 -> 0.4.
    table = {(DRUG, DRUG): 20, (DRUG, NOT_DRUG): 5, (NOT_DRUG, DRUG): 10, (NOT_DRUG, NOT_DRUG): 15}
    agreement = Agreement.of(table)
    assert agreement.pairs == 50 and agreement.kappa == pytest.approx(0.4)
    assert Agreement.of({(DRUG, DRUG): 3, (NOT_DRUG, NOT_DRUG): 3}).kappa == pytest.approx(1)
    assert Agreement.of({(DRUG, NOT_DRUG): 3, (NOT_DRUG, DRUG): 3}).kappa == pytest.approx(-1)
    assert Agreement.of({}) == Agreement(None, 0) and Agreement.of({(DRUG, DRUG): 9}) == Agreement(None, 9)


def test_the_share_of_second_reviews_is_as_large_as_asked_and_a_secret_decides_which() -> None:
    identities = [random.Random(number).randbytes(32) for number in range(4000)]
    ours, theirs = SecondReview(0.25, "ours"), SecondReview(0.25, "theirs")
    chosen = [ours.includes(each) for each in identities]
    assert chosen == [ours.includes(each) for each in identities]
    assert 900 < sum(chosen) < 1100
    both = sum(one and theirs.includes(each) for one, each in zip(chosen, identities, strict=True))
    assert 200 < both < 300
    assert not any(SecondReview().includes(each) for each in identities)
    assert all(SecondReview(1.0).includes(each) for each in identities)
    for share, secret in ((0.5, ""), (-0.1, "s"), (1.1, "s")):
        with pytest.raises(SettingsError, match="share of second reviews"):
            SecondReview(share, secret)
