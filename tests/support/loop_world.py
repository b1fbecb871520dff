"""A small company's world, drawn by seed: few first labels, a bucket that nobody has labelled, and a held-out truth."""

from __future__ import annotations

import csv
import io
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sniffer.core.model_records import LABELS
from sniffer_local.samples.generate import SLICES, Domain, Order, draw_all

SEED = 15
SIDES_PX = (240, 400)
"""Small pictures: quick to draw, and still larger than what a model sees."""
_FIRST, _UNLABELLED, _HELD_OUT = 101, 102, 103
"""Streams of their own: no picture of one set is a picture of another."""
FIRST_KINDS: Mapping[str, Sequence[str]] = {"other": ("food", "landscape"), "drugs": ("powder",)}
"""What the first labels show. The bucket shows everything."""
EVERY_KIND: Mapping[str, Sequence[str]] = {label: tuple(kinds) for label, kinds in SLICES.items()}


@dataclass(frozen=True, slots=True)
class Shown:
    """What an object was drawn to show: its class and its kind."""

    label: str
    kind: str


def first_labels(client: Any, bucket: str, count: int, table: str) -> None:
    """Put so many labelled pictures of FIRST_KINDS into the bucket, half of them drugs, and their table."""
    rows = _fill(client, bucket, "own", _orders(_FIRST, count, FIRST_KINDS))
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow(("bucket", "key", "label", "slice", "source"))
    lines.writerows((bucket, key, shown.label, shown.kind, "own") for key, shown in rows.items())
    client.put_object(Bucket=bucket, Key=table, Body=text.getvalue().encode())


def unlabelled(client: Any, bucket: str, count: int) -> dict[str, Shown]:
    """Put so many pictures of every kind into the bucket, half of them drugs; returns what they show, by key."""
    return _fill(client, bucket, "uploads", _orders(_UNLABELLED, count, EVERY_KIND))


def held_out(client: Any, bucket: str, count: int) -> dict[str, Shown]:
    """The same with other pictures, which are for no label and no reviewer."""
    return _fill(client, bucket, "truth", _orders(_HELD_OUT, count, EVERY_KIND))


def _orders(stream: int, count: int, kinds: Mapping[str, Sequence[str]]) -> Iterator[Order]:
    turns = {label: itertools.cycle(kinds[label]) for label in LABELS}
    for index in range(count):
        label = LABELS[index % len(LABELS)]
        yield Order(SEED, stream, index, label, next(turns[label]), Domain(long_sides_px=SIDES_PX))


def _fill(client: Any, bucket: str, prefix: str, orders: Iterator[Order]) -> dict[str, Shown]:
    client.create_bucket(Bucket=bucket)
    shown = {}
    for number, image in enumerate(draw_all(orders, os.cpu_count() or 1)):
        # Nothing in a key tells what its picture shows.
        key = f"{prefix}/{number:06d}{image.suffix}"
        client.put_object(Bucket=bucket, Key=key, Body=image.data)
        shown[key] = Shown(image.label, image.slice)
    return shown
