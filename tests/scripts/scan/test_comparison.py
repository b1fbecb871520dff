"""What was acknowledged and what MySQL holds, compared by identity for every outcome."""

from __future__ import annotations

import pytest

from sniffer.core.records import ListingDigest, Outcome, OutcomeTally
from sniffer.scan.comparison import Comparison, acknowledged, committed, compare

A, B, C = (bytes([n]) * 32 for n in (1, 2, 3))


def heard(**images: list[bytes]) -> dict[Outcome, list[bytes]]:
    return {Outcome(name): identities for name, identities in images.items()}


def compared(
    of_consumers: dict[Outcome, list[bytes]], of_mysql: dict[Outcome, list[bytes]], *, complete: bool = True
) -> Comparison:
    digests = {outcome: ListingDigest() for outcome in Outcome}
    for outcome, identities in of_consumers.items():
        digests[outcome].add(identities)
    counts = {outcome: len(identities) for outcome, identities in of_consumers.items()}
    return compare(acknowledged(counts, digests), committed(tallies(of_mysql)), complete=complete)


def tallies(images: dict[Outcome, list[bytes]]) -> tuple[OutcomeTally, ...]:
    """As two consumers would have written them."""
    found = []
    for outcome, identities in images.items():
        for part in (identities[:1], identities[1:]):
            digest = sum(int.from_bytes(identity, "big") for identity in part) % (1 << 256)
            found.append(OutcomeTally(outcome, "", len(part), 0, digest))
    return tuple(found)


def test_the_same_images_agree_whoever_wrote_them() -> None:
    images = heard(predicted=[A, B], unchanged=[C])
    found = compared(images, images)
    assert found.problems == ()
    assert (found.counts[Outcome.PREDICTED], found.counts[Outcome.UNCHANGED]) == (2, 1)


@pytest.mark.parametrize("outcome", [o for o in Outcome if o is not Outcome.SKIPPED])
def test_a_row_that_is_missing_is_found_for_every_outcome(outcome: Outcome) -> None:
    found = compared({outcome: [A, B]}, {outcome: [A]})
    assert found.problems == (f"2 images were acknowledged as {outcome}, but MySQL holds 1",)


def test_as_many_rows_of_other_images_are_not_enough() -> None:
    found = compared(heard(predicted=[A, B]), heard(predicted=[A, C]))
    assert found.problems == ("2 images were acknowledged as predicted, but MySQL holds other ones",)


def test_what_was_scored_after_all_counts_as_mysql_has_it() -> None:
    found = compared(heard(predicted=[A], failed=[B]), heard(predicted=[A, B]))
    assert found.problems == ()
    assert (found.counts[Outcome.PREDICTED], found.counts[Outcome.FAILED]) == (2, 0)


def test_a_score_that_became_a_failure_is_a_problem() -> None:
    found = compared(heard(predicted=[A, B]), heard(predicted=[A], failed=[B]))
    assert len(found.problems) == 2


def test_a_scan_that_ended_early_says_that_it_was_compared_by_number() -> None:
    (problem,) = compared(heard(predicted=[A]), heard(predicted=[A, B]), complete=False).problems
    assert "by number only" in problem
    (problem,) = compared(heard(predicted=[A, B]), heard(predicted=[A]), complete=False).problems
    assert problem == "2 images were acknowledged, but MySQL holds 1 of them"
