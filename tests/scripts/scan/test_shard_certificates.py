"""Certificates of shards add up to that of the whole, and a set that is not all of it is refused with the place."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from sniffer.core.errors import ContractError
from sniffer.core.key_ranges import KeyRange
from sniffer.core.records import Certificate, FailureSample, ListingDigest, Outcome
from sniffer.core.settings import Budgets
from sniffer.scan.shard_certificates import sum_certificates

P, U, F, N, S = Outcome.PREDICTED, Outcome.UNREADABLE, Outcome.FAILED, Outcome.UNCHANGED, Outcome.SKIPPED
KEYS = [bytes([number]) * 32 for number in range(7, 250, 9)]


def shard(
    after: str, up_to: str | None, counts: dict[Outcome, int], identities: list[bytes], **more: Any
) -> Certificate:
    digest = ListingDigest()
    digest.add(identities)
    fields: dict[str, Any] = {
        "scan_id": f"whole.after-{after}",
        "bucket": "bkt",
        "prefix": "p/",
        "since": None,
        "until": None,
        "limited": False,
        "listing_digest": digest.hex(),
        "listed": sum(counts.values()),
        "outcomes": {outcome: counts.get(outcome, 0) for outcome in Outcome},
        "flagged": 2,
        "flagged_new": 1,
        "model_version": 3,
        "model_digest": "d" * 64,
        "preprocessing_version": "p1",
        "threshold": 0.5,
        "duration_s": 10.0,
        "images_per_s": 1.0,
        "consumers": 2,
        "key_range": KeyRange(after, up_to),
    }
    return Certificate(**(fields | more))


def parts() -> list[Certificate]:
    return [
        shard("", "m", {P: 8, U: 2}, KEYS[:10], codes={"truncated": 2}, duration_s=20.0, late=1),
        shard("m", "t", {P: 5, N: 5}, KEYS[10:20], failure_samples=(FailureSample("n", F, "fetch", "so"),)),
        shard("t", None, {P: len(KEYS) - 20}, KEYS[20:], codes={"truncated": 0, "empty": 0}),
    ]


def test_counts_and_digests_add_up_to_those_of_one_scan_of_all() -> None:
    whole = sum_certificates("whole", parts()[::-1], Budgets())
    digest = ListingDigest()
    digest.add(KEYS)
    assert whole.listing_digest == digest.hex() and whole.listed == len(KEYS)
    assert whole.key_range.is_whole and whole.scan_id == "whole" and whole.holds
    assert (
        whole.outcomes[P] == len(KEYS) - 7 and whole.outcomes[N] == 5 and sum(whole.outcomes.values()) == whole.listed
    )
    assert (whole.flagged, whole.flagged_new, whole.late, whole.consumers) == (6, 3, 1, 6)
    assert whole.codes == {"truncated": 2} and whole.duration_s == 40.0
    assert [sample.key for sample in whole.failure_samples] == ["n"]


def test_a_threshold_that_changed_meanwhile_is_a_warning() -> None:
    first, *others = parts()
    whole = sum_certificates("whole", [replace(first, threshold=0.6), *others], Budgets())
    assert whole.holds and "the threshold has changed meanwhile, from 0.5 to 0.6" in whole.warnings[0]


def test_an_upgrade_meanwhile_is_a_warning_and_the_oldest_decoder_counts() -> None:
    first, *others = [replace(part, decoder_version=3) for part in parts()]
    whole = sum_certificates("whole", [replace(first, decoder_version=4), *others], Budgets())
    assert whole.holds and whole.decoder_version == 3 and "decoder 3 to 4" in whole.warnings[0]
    assert not any("decoder" in warning for warning in sum_certificates("whole", [first, *others], Budgets()).warnings)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda shards: shards[:-1], "a gap: no range has the keys of ('t', end]"),
        (lambda shards: [shards[0], shards[2]], "a gap: no range has the keys of ('m', 't']"),
        (lambda shards: [*shards, shards[1]], "an overlap: ('m', 't'] begins before 't'"),
        (lambda shards: [*shards[:2], replace(shards[2], key_range=KeyRange("s"))], "an overlap: ('s', end] begins"),
        (lambda _: [], "a gap: no range has the keys of ('', end]"),
        (lambda shards: [*shards[:2], replace(shards[2], limited=True)], "stopped at --limit"),
        (lambda shards: [*shards[:2], replace(shards[2], model_version=4)], "model_version is 3 and 4"),
        (lambda shards: [*shards[:2], replace(shards[2], prefix="q/")], "prefix is 'p/' and 'q/'"),
        (lambda shards: [*shards[:2], replace(shards[2], include=(".jpg",))], "include is () and ('.jpg',)"),
    ],
)
def test_what_is_not_all_shards_of_one_scan_is_refused(spoil: Any, message: str) -> None:
    with pytest.raises(ContractError) as refused:
        sum_certificates("whole", spoil(parts()), Budgets())
    assert message in str(refused.value)


def test_the_whole_does_not_hold_when_a_shard_does_not_and_says_which() -> None:
    first, *others = parts()
    whole = sum_certificates("whole", [replace(first, problems=("interrupted",)), *others], Budgets())
    assert whole.problems == ("keys ('', 'm']: interrupted",)


def test_the_budgets_are_those_of_the_sum() -> None:
    shards = [shard("", "m", {P: 6, U: 4}, KEYS[:10]), shard("m", None, {P: 6, U: 4}, KEYS[10:20])]
    whole = sum_certificates("whole", shards, Budgets(unreadable=0.3))
    assert all(part.holds for part in shards) and "8 of 20 images are unreadable" in whole.problems[0]
    assert sum_certificates("whole", shards, Budgets(unreadable=0.5)).holds


def test_shards_without_any_key_are_good_but_not_a_whole_without_any() -> None:
    empty = [shard("", "m", {}, []), shard("m", None, {}, [])]
    assert "nothing is listed" in sum_certificates("whole", empty, Budgets()).problems[0]
    assert sum_certificates("whole", empty, Budgets(), allow_empty=True).holds


def test_a_window_in_which_nothing_was_modified_is_an_ordinary_night() -> None:
    night = {"since": datetime(2026, 11, 1, tzinfo=UTC), "until": datetime(2026, 11, 2, tzinfo=UTC)}
    for bounds in (night, {"since": night["since"]}, {"until": night["until"]}):
        empty = [shard("", "m", {}, [], **bounds), shard("m", None, {}, [], **bounds)]
        assert sum_certificates("whole", empty, Budgets()).holds


def test_rules_that_leave_everything_out_are_no_good_whole() -> None:
    none = [shard("", "m", {S: 2}, KEYS[:2]), shard("m", None, {S: 1}, KEYS[2:3])]
    assert "all 3 listed objects are left out by rule" in sum_certificates("whole", none, Budgets()).problems[0]
    assert sum_certificates("whole", none, Budgets(), allow_empty=True).holds
    assert sum_certificates("whole", [none[0], shard("m", None, {P: 1}, KEYS[2:3])], Budgets()).holds


def test_a_part_of_the_keys_can_be_summed_again() -> None:
    first, second, third = parts()
    half = sum_certificates("half", [first, second], Budgets(), whole=KeyRange("", "t"))
    whole = sum_certificates("whole", [half, third], Budgets())
    again = sum_certificates("whole", parts(), Budgets())
    assert (whole.listing_digest, whole.outcomes) == (again.listing_digest, again.outcomes)


def test_a_certificate_with_a_range_is_read_back_and_an_older_one_without_is_of_all_keys() -> None:
    document = json.loads(json.dumps(parts()[1].document()))
    assert document["key_range"] == {"after": "m", "up_to": "t"}
    assert Certificate.parse(document) == parts()[1]
    del document["key_range"]
    assert Certificate.parse(document).key_range.is_whole
