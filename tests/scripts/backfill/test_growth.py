"""A shard stops while it lists, and hands out nothing of the page by which its bucket has grown too far."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from support.estimates import ESTIMATE
from support.stored_rows import listed

from sniffer.backfill import approve, estimate
from sniffer.backfill.recount import refuse_grown
from sniffer.core.errors import SettingsError
from sniffer.core.records import ListedObject, ScanRequest
from sniffer.scan.growth import GrowthRoom
from sniffer.scan.listing import ListingTally, images_to_score


def test_what_is_listed_is_handed_out_until_there_is_no_room() -> None:
    tally = ListingTally()

    def pages() -> Iterator[list[ListedObject]]:
        for page in range(5):
            yield [listed(f"{page}{number}") for number in range(10)]

    images = images_to_score(pages(), ScanRequest("s", "bkt"), lambda _: {}, tally)
    given = []
    with pytest.raises(SettingsError, match="has grown by more than 50.0% past the 9 objects that were approved"):
        for page in GrowthRoom("s", 25, 50, ESTIMATE).kept(images, tally):
            given += page
    assert (len(given), tally.listed) == (20, 30)
    exact = ListingTally()
    images = images_to_score(pages(), ScanRequest("s", "bkt"), lambda _: {}, exact)
    assert sum(map(len, GrowthRoom("s", 50, 50, ESTIMATE).kept(images, exact))) == 50


def test_what_is_beyond_the_estimate_is_told_page_by_page_before_it_is_handed_out() -> None:
    tally, told, given = ListingTally(), list[int](), 0

    def take(listed_so_far: int) -> None:
        told.append(listed_so_far)
        if listed_so_far > 40:
            raise SettingsError("others have taken it")

    pages = ([listed(f"{page}{number}") for number in range(10)] for page in range(9))
    images = images_to_score(pages, ScanRequest("s", "bkt"), lambda _: {}, tally)
    with pytest.raises(SettingsError, match="others have taken it"):
        for page in GrowthRoom("s", 90, 90, ESTIMATE, planned=20).kept(images, tally, take):
            given += len(page)
    assert (told, given) == ([30, 40, 50], 40)


def test_what_was_deleted_makes_no_room_for_what_must_be_scored() -> None:
    """Forty of fifty were known when it was estimated; the same number is listed now, and none is known."""
    tally = ListingTally()
    pages = ([listed(f"{page}{number}") for number in range(10)] for page in range(5))
    images = images_to_score(pages, ScanRequest("s", "bkt"), lambda _: {}, tally)
    given = 0
    with pytest.raises(SettingsError, match="has more images without a result than 14: those that were estimated, and"):
        for page in GrowthRoom("s", 50, 14, ESTIMATE).kept(images, tally):
            given += len(page)
    assert given == 10


def test_a_shard_that_has_lost_objects_makes_no_room_for_another() -> None:
    refuse_grown(ESTIMATE, {1: 0, 2: 3, 3: 7})  # as many as 13, of which three are gone
    with pytest.raises(SettingsError, match="11 objects, and 3 of what was estimated are gone: .* has grown by more"):
        refuse_grown(ESTIMATE, {1: 0, 2: 3, 3: 8})
    with pytest.raises(SettingsError, match="^14 objects: "):
        refuse_grown(ESTIMATE, {1: 3, 2: 3, 3: 8})


@pytest.mark.parametrize(("growth", "most"), [(0.29, 129), (0.15, 115), (0.0, 100), (1.0, 200), (0.055, 105)])
def test_a_share_of_growth_is_what_a_person_takes_it_for(growth: float, most: int) -> None:
    assert dataclasses.replace(ESTIMATE, listed=100, growth=growth).most_listed == most


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scan-id=s", "--rates=/nowhere/prices.json"], "--rates: the file '/nowhere/prices.json' cannot be read"),
        (["--scan-id=s", '--rates={"as_of": "2026-11-26", "gpu": 1}'], "--rates is of another form"),
        (["--scan-id=s", "--growth=1.5"], "--growth: '1.5' is not a share from 0 to 1"),
        (["--scan-id=s", "--growth=nan"], "--growth: 'nan' is not a share"),
        (["--scan-id=s", "--at-a-time=0"], "--at-a-time: '0' is not a whole number above 0"),
        (["--scan-id=a b"], "'a b' is not a scan id"),
        ([], "--scan-id is required"),
    ],
)
def test_wrong_flags_are_refused_before_anything_is_asked(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = estimate.main(words)
    except SystemExit as ended:
        status = int(str(ended.code))
    assert status == 2 and message in capsys.readouterr().err


def test_nobody_approves_without_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert approve.main(["s", "--digest=d", "--by=J. Doe", "--reason= "]) == 2
    assert "a reason is needed" in capsys.readouterr().err
