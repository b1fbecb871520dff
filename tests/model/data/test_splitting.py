"""The split: near-duplicates on one side, kept when data is added, and left out where no side is right."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sniffer_model.data.manifest import LabelledImage, ManifestEntry, Split, SplitFractions, SplitImage
from sniffer_model.data.near_duplicates import MAX_DISTANCE
from sniffer_model.data.splitting import InspectedImage, split_images

STEP = MAX_DISTANCE // 2
"""Pictures at places 0, 1, 2, … differ by so many bits from one to the next: near up to two places apart."""
LAST_PLACE = 256 // STEP


def image(name: str, place: int, label: str = "other", *, world: int = 0, content: str = "") -> InspectedImage:
    """A picture at a place of a line; in another world nothing is near it."""
    bits = np.random.default_rng(world).integers(0, 2, 256, dtype=np.uint8)
    bits[: place * STEP] ^= 1
    perceptual_hash = np.packbits(bits).tobytes().hex()
    return InspectedImage(LabelledImage(f"labels/{label}/{name}", label), "etag", content or sha(name), perceptual_hash)


def sha(name: str) -> str:
    return name.encode().hex().rjust(64, "0")


def settled(image: InspectedImage, split: Split) -> dict[str, SplitImage]:
    return {image.content_sha256: SplitImage(image.content_sha256, image.perceptual_hash, split)}


def split(
    images: Sequence[InspectedImage], known: Mapping[str, SplitImage] | None = None
) -> tuple[dict[str, Split], dict[str, str]]:
    """Splits of the entries and codes of what is left out, by name."""
    entries, excluded = split_images(images, known or {}, SplitFractions())
    return (
        {entry.key.rpartition("/")[2]: entry.split for entry in entries},
        {exclusion.key.rpartition("/")[2]: exclusion.code for exclusion in excluded},
    )


def test_a_chain_of_near_duplicates_is_on_one_side() -> None:
    for world in range(20):
        splits, _ = split([image(f"{world}-{place}", place, world=world) for place in range(5)])
        assert len(set(splits.values())) == 1


def test_pictures_that_are_not_near_are_split_by_the_fractions_in_each_class() -> None:
    images = [image(f"{world:04}", 0, "other" if world % 10 else "drugs", world=world) for world in range(1000)]
    entries, _ = split_images(images, {}, SplitFractions())
    for label, count in (("other", 900), ("drugs", 100)):
        splits = [entry.split for entry in entries if entry.label == label]
        assert len(splits) == count
        assert splits.count(Split.TEST) == pytest.approx(0.2 * count, abs=1)
        assert splits.count(Split.VALIDATION) == pytest.approx(0.2 * count, abs=1)


def test_a_group_counts_once_however_many_copies_it_has() -> None:
    crowd = [image(f"copy-{number}", 0, content=sha(f"copy-{number}")) for number in range(60)]
    splits, _ = split(crowd + [image(f"{world:04}", 0, world=world) for world in range(1, 30)])
    assert len({splits[one.labelled.key.rpartition("/")[2]] for one in crowd}) == 1
    alone = [found for name, found in splits.items() if not name.startswith("copy")]
    assert alone.count(Split.TEST) in (5, 6) and alone.count(Split.VALIDATION) in (5, 6)


def test_images_that_come_one_by_one_fill_every_split_too() -> None:
    known: dict[str, SplitImage] = {}
    images: list[InspectedImage] = []
    for world in range(50):
        images.append(image(f"{world:04}", 0, world=world))
        entries, _ = split_images(images, known, SplitFractions())
        known = {e.content_sha256: SplitImage(e.content_sha256, e.perceptual_hash, e.split) for e in entries}
    found = [one.split for one in known.values()]
    assert {side: found.count(side) for side in Split} == {Split.TRAIN: 30, Split.VALIDATION: 10, Split.TEST: 10}


@pytest.mark.parametrize("side", Split)
def test_new_images_follow_the_near_duplicate_whose_split_is_settled(side: Split) -> None:
    old = image("old", 2)
    splits, _ = split([image("a", 0), old, image("z", 4)], settled(old, side))
    assert set(splits.values()) == {side}


def test_an_image_that_is_gone_still_decides_where_its_near_duplicates_go() -> None:
    splits, _ = split([image("copy", 1)], settled(image("gone", 0), Split.VALIDATION))
    assert splits == {"copy": Split.VALIDATION}


def test_a_new_image_near_two_splits_is_left_out_and_moves_nothing() -> None:
    left, right = image("left", 0), image("right", 4)
    known = settled(left, Split.TRAIN) | settled(right, Split.TEST)
    splits, left_out = split([left, image("bridge", 2), right, image("beside", 5)], known)
    assert splits == {"left": Split.TRAIN, "right": Split.TEST, "beside": Split.TEST}
    assert left_out == {"bridge": "joins_splits"}


def test_a_chain_of_new_images_between_two_splits_is_left_out() -> None:
    left, right = image("left", 0), image("right", 6)
    known = settled(left, Split.TRAIN) | settled(right, Split.TEST)
    splits, left_out = split([left, right, image("one", 2), image("two", 4)], known)
    assert splits == {"left": Split.TRAIN, "right": Split.TEST}
    assert left_out == {"one": "joins_splits", "two": "joins_splits"}


def test_near_duplicates_of_two_classes_are_left_out_and_their_neighbours_stay() -> None:
    splits, left_out = split([image("a", 0, "drugs"), image("b", 2, "drugs"), image("c", 4, "other")])
    assert set(splits) == {"a"}
    assert left_out == {"b": "conflicting_near_duplicate", "c": "conflicting_near_duplicate"}


def test_the_message_names_the_image_that_contradicts() -> None:
    _, excluded = split_images([image("a", 0, "drugs"), image("b", 0, "other")], {}, SplitFractions())
    assert [exclusion.message for exclusion in excluded] == [
        "a near-duplicate of labels/other/b, which is labelled other",
        "a near-duplicate of labels/drugs/a, which is labelled drugs",
    ]


def test_an_image_with_a_settled_split_keeps_it_when_it_comes_back_after_a_conflict() -> None:
    old, rival = image("old", 0, "drugs"), image("rival", 1, "other")
    known = settled(old, Split.TEST)
    assert split([old, rival], known)[0] == {}
    assert split([old], known)[0] == {"old": Split.TEST}


places = st.tuples(st.integers(0, LAST_PLACE), st.sampled_from(["other", "other", "other", "drugs"]), st.integers(0, 3))


def images_at(found: Sequence[tuple[int, str, int]], first: int) -> list[InspectedImage]:
    return [
        image(f"{first + number:03}", place, label, world=world) for number, (place, label, world) in enumerate(found)
    ]


def near(one: ManifestEntry, other: ManifestEntry) -> bool:
    return (int(one.perceptual_hash, 16) ^ int(other.perceptual_hash, 16)).bit_count() <= MAX_DISTANCE


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(places, max_size=10), min_size=1, max_size=4), st.randoms())
def test_over_any_growth_no_image_moves_and_no_near_duplicates_straddle(
    growth: list[list[tuple[int, str, int]]], shuffler: random.Random
) -> None:
    known: dict[str, SplitImage] = {}
    images: list[InspectedImage] = []
    for added in growth:
        images += images_at(added, len(images))
        shuffler.shuffle(images)
        entries, excluded = split_images(images, known, SplitFractions(0.3, 0.3))
        assert len(entries) + len(excluded) == len(images)
        for entry in entries:
            assert entry.content_sha256 not in known or known[entry.content_sha256].split is entry.split
            known[entry.content_sha256] = SplitImage(entry.content_sha256, entry.perceptual_hash, entry.split)
        for one, other in combinations(entries, 2):
            assert not near(one, other) or (one.split is other.split and one.label == other.label)
