"""Which images are drawn: each as likely as any other of its stratum, by the key alone, in bounded memory."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from sniffer.recall.selection import BINS, Edges, ScoredImage, Selection, histogram_bin

EDGES = Edges.around(0.5)


def drawn(key: bytes, ids: range, count: int, *, reverse: bool = False) -> set[int]:
    selection = Selection(EDGES, key, count)
    images = [ScoredImage(number, 0.3) for number in ids]
    selection.add(reversed(images) if reverse else images)
    counts = np.zeros(len(EDGES.low), dtype=np.int64)
    counts[EDGES.stratum(0.3)] = count
    return {image.image_id for _, image in selection.drawn(counts)}


def test_the_order_of_the_walk_does_not_matter_and_the_key_does() -> None:
    one, other = b"1" * 32, b"2" * 32
    assert drawn(one, range(500), 20) == drawn(one, range(500), 20, reverse=True)
    assert drawn(one, range(500), 20) != drawn(other, range(500), 20)


def test_every_image_is_drawn_as_often_as_any_other() -> None:
    counts = Counter[int]()
    for number in range(600):
        counts.update(drawn(number.to_bytes(32, "big"), range(1, 21), 5))
    # 150 times each; the standard deviation is 11.
    assert set(counts) == set(range(1, 21))
    assert all(100 < times < 200 for times in counts.values())


def test_no_more_is_kept_than_may_be_drawn() -> None:
    selection = Selection(EDGES, b"k" * 32, 3)
    selection.add(ScoredImage(number, 0.3) for number in range(1000))
    assert (sum(selection.population), sum(selection.histogram)) == (1000, 1000)
    counts = np.zeros(len(EDGES.low), dtype=np.int64)
    counts[EDGES.stratum(0.3)] = 4
    with pytest.raises(ValueError, match="4 of 3 images are to be drawn"):
        selection.drawn(counts)


def test_every_score_has_a_bin() -> None:
    assert histogram_bin(0.0) == 0 and histogram_bin(1.0) == BINS - 1
    assert histogram_bin(0.5) == BINS // 2
