"""The objects of a sample bucket: mostly harmless images, some of drugs, copies, hostile files, and awkward keys."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sniffer.core.model_records import LABELS
from sniffer_local.samples.generate import BUCKET_STREAM, draw_all, order_of
from sniffer_local.samples.hostile import HOSTILE_KINDS

LONGEST_KEY_BYTES = 1024
SMALLEST_BUCKET = 100
UNUSUAL_NAMES = (
    "holiday photo 1.jpg",
    " space first and last.jpg ",
    "smile \N{GRINNING FACE} \N{PILL}.jpg",
    "na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve \u65e5\u672c\u8a9e.jpg",
    "100%20percent.jpg",
    "50%.jpg",
    "a+b c.jpg",
    'it\'s "quoted".jpg',
    "ask?me#now&then;=1.jpg",
    "Case.jpg",
    "case.jpg",
    "CASE.JPG",
    "album/",
)


@dataclass(frozen=True, slots=True)
class BucketObject:
    """One object to put. `label` is its true class, None for no readable image; `kind` its slice or hostile kind."""

    key: str
    data: bytes
    label: str | None
    kind: str


def bucket_objects(
    seed: int, count: int, date_prefixes: Sequence[str], *, processes: int = 1
) -> Iterator[BucketObject]:
    """Exactly `count` objects (at least 100), each with its own key under one of the prefixes (`uploads/2026-11-20/`).

    3 in 20 of the drawn images show drugs; 1 in 20 objects is a copy of another, byte by byte; every hostile kind is
    there at least twice; all unusual keys, and one of 1,024 bytes, are under the first prefix.
    """
    if count < SMALLEST_BUCKET or not date_prefixes:
        raise ValueError(f"a sample bucket needs at least {SMALLEST_BUCKET} objects and one prefix")
    hostile = max(2, count // 150) * len(HOSTILE_KINDS)
    copies = count // 20
    drawn = count - hostile - copies
    rng = np.random.default_rng([seed, BUCKET_STREAM])
    to_copy = set(rng.choice(drawn, copies, replace=False).tolist())
    originals = []
    for index, image in enumerate(_drawn(seed, drawn, date_prefixes, processes)):
        yield image
        if index in to_copy:
            originals.append(image)
    for number, image in enumerate(originals):
        yield replace(image, key=f"{_any_of(rng, date_prefixes)}copy_{number:06d}.jpg")
    yield from _hostile(seed, hostile, date_prefixes)


def _drawn(seed: int, count: int, date_prefixes: Sequence[str], processes: int) -> Iterator[BucketObject]:
    rng = np.random.default_rng([seed, BUCKET_STREAM, 1 << 31])
    # 0, 7 and 14 of every 20: the drugs are spread evenly.
    labels = [LABELS[index % 20 in (0, 7, 14)] for index in range(count)]
    turns = {label: itertools.count() for label in LABELS}
    orders = [order_of(seed, BUCKET_STREAM, index, label, next(turns[label])) for index, label in enumerate(labels)]
    unusual = unusual_keys(date_prefixes[0])
    for index, image in enumerate(draw_all(orders, processes)):
        usual = f"{_any_of(rng, date_prefixes)}img_{index:06d}{image.suffix}"
        key = unusual[index] if index < len(unusual) else usual
        yield BucketObject(key, image.data, image.label, image.slice)


def unusual_keys(prefix: str) -> list[str]:
    """Keys that careless programs mix up, cut off, or encode twice; the last one is as long as S3 allows."""
    longest = prefix + "long_" * LONGEST_KEY_BYTES
    room = LONGEST_KEY_BYTES - len(".jpg")
    return [prefix + name for name in UNUSUAL_NAMES] + [longest.encode()[:room].decode(errors="ignore") + ".jpg"]


def _hostile(seed: int, count: int, date_prefixes: Sequence[str]) -> Iterator[BucketObject]:
    for number in range(count):
        kind = HOSTILE_KINDS[number % len(HOSTILE_KINDS)]
        rng = np.random.default_rng([seed, BUCKET_STREAM + 1, number])
        key = f"{_any_of(rng, date_prefixes)}{kind.name}_{number:03d}{kind.suffix}"
        yield BucketObject(key, kind.make(rng), LABELS[0] if kind.code is None else None, kind.name)


def _any_of(rng: np.random.Generator, prefixes: Sequence[str]) -> str:
    return prefixes[int(rng.integers(len(prefixes)))]
