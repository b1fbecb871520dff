"""Near-duplicates: changed copies are near, other pictures are not, and every pair is found."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from sniffer.adapters.images.render import decode
from sniffer_local.samples.generate import labelled_images
from sniffer_model.data import near_duplicates
from sniffer_model.data.near_duplicates import MAX_DISTANCE, as_matrix, groups, near_pairs, perceptual_hash

Change = Callable[[Image.Image], Image.Image]


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    return [image.data for image in labelled_images(3, 24)]


def cropped(image: Image.Image, share: float) -> Image.Image:
    width, height = image.size
    return image.crop((round(width * share), round(height * share), round(width * (1 - share)), height))


CHANGES: dict[str, Change] = {
    "half size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "160 pixels": lambda image: image.resize((160, 120)),
    "grey": lambda image: image.convert("L"),
    "1 % cropped": lambda image: cropped(image, 0.01),
}


def saved(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=quality)
    return file.getvalue()


def distance(one: bytes, other: bytes) -> int:
    matrix = as_matrix([perceptual_hash(decode(one)), perceptual_hash(decode(other))])
    return int(np.bitwise_count(matrix[0] ^ matrix[1]).sum())


@pytest.mark.sampled(4)
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("quality", [90, 40])
def test_resized_recompressed_and_slightly_cropped_copies_are_near(
    pictures: list[bytes], change: str, quality: int
) -> None:
    for data in pictures[:8]:
        upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGBA")
        whole = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
        assert distance(saved(CHANGES[change](whole), quality), data) <= MAX_DISTANCE


def test_different_pictures_are_not_near(pictures: list[bytes]) -> None:
    matrix = as_matrix([perceptual_hash(decode(data)) for data in pictures])
    assert list(near_pairs(matrix)) == []


def some_hashes(count: int) -> NDArray[np.uint64]:
    """Random hashes, a third of them a few bits away from another."""
    rng = np.random.default_rng(count)
    hashes = rng.integers(0, 2**64, (count, 4), dtype=np.uint64)
    copies = rng.choice(count, (count // 3, 2))
    flipped = (rng.random((len(copies), 256)) < rng.uniform(0, 0.5, (len(copies), 1))).astype(np.uint8)
    hashes[copies[:, 0]] = hashes[copies[:, 1]] ^ np.packbits(flipped, axis=1).view(np.uint64)
    return hashes


@pytest.mark.parametrize("count", [0, 1, 2, 31, 32, 33, 150])
def test_every_near_pair_is_found_once_across_the_blocks(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "_COLUMNS", 50)
    hashes = some_hashes(count)
    found = [(int(a), int(b)) for i, j in near_pairs(hashes) for a, b in zip(i, j, strict=True)]
    distances = np.bitwise_count(hashes[:, None] ^ hashes[None]).sum(axis=2)
    expected = [(a, b) for a in range(count) for b in range(a + 1, count) if distances[a, b] <= MAX_DISTANCE]
    assert sorted(found) == expected


def test_a_picture_and_its_negative_are_not_near() -> None:
    hashes = np.array([[0] * 4, [2**64 - 1] * 4], np.uint64)
    assert list(near_pairs(hashes)) == []


def test_groups_are_closed_under_nearness_and_no_larger() -> None:
    hashes = some_hashes(150)
    found = groups(hashes)
    reached = np.bitwise_count(hashes[:, None] ^ hashes[None]).sum(axis=2) <= MAX_DISTANCE
    for _ in range(8):
        reached = (reached.astype(int) @ reached.astype(int)) > 0
    assert ((found[:, None] == found[None]) == reached).all()
