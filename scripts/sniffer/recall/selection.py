"""Which images are drawn: in each stratum of all frames together those with the smallest keyed digests. Bounded memory.

The key is made when the scan has ended and is kept beside the sample. Who uploads or names an image cannot know it, so
nobody can steer what is drawn; and whoever has it draws the same again. As a digest is as good as random, each set of
images of a stratum is as likely as any other of its size.
"""

from __future__ import annotations

import bisect
import hashlib
import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

KEY_BYTES = 32
_BINS_FROM, _BINS_TO = -16, 16
BINS = _BINS_TO - _BINS_FROM
_LARGEST = 16.0
"""Scores are float32: nearer to 0 or 1 than this log-odds they all look the same."""
_BELOW = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.5, 8.0, 10.0, 12.0)
_ABOVE = (0.5, 1.0, 1.5, 2.5, 4.0, 6.0, 8.0)


@dataclass(frozen=True, slots=True)
class ScoredImage:
    """An image of the frame, and its score."""

    image_id: int
    score: float


@dataclass(frozen=True, slots=True)
class Edges:
    """The strata's lower ends as scores, ascending, the first of them 0; those from `threshold` on are flagged."""

    low: tuple[float, ...]
    threshold: float

    @classmethod
    def around(cls, threshold: float) -> Edges:
        """Narrow near the threshold, where the model is unsure, and wide far from it. The threshold is an edge."""
        at = log_odds(threshold)
        lower = [at - step for step in _BELOW] + [at + step for step in _ABOVE]
        inside = {1 / (1 + math.exp(-value)) for value in lower if abs(value) < _LARGEST}
        # Compared as scores: an edge that lies on the other side of the threshold by rounding is not one.
        return cls(tuple(sorted({0.0, threshold, *inside})), threshold)

    @property
    def high(self) -> tuple[float, ...]:
        """Their upper ends, which are not in them; 1 of the last, which is."""
        return (*self.low[1:], 1.0)

    def is_flagged(self) -> tuple[bool, ...]:
        """Which strata are at or above the threshold."""
        return tuple(low >= self.threshold for low in self.low)

    def stratum(self, score: float) -> int:
        """Where a score from 0 to 1 lies."""
        return bisect.bisect_right(self.low, score) - 1


def log_odds(score: float) -> float:
    """ln(score / (1 - score)), within what a float32 can tell apart."""
    if score <= 0 or score >= 1:
        return -_LARGEST if score <= 0 else _LARGEST
    return min(max(math.log(score) - math.log1p(-score), -_LARGEST), _LARGEST)


def histogram_bin(score: float) -> int:
    """The bin of a score in a night's histogram of log-odds, from -16 to 16 in steps of 1."""
    return min(int(log_odds(score) - _BINS_FROM), BINS - 1)


@dataclass(slots=True)
class Selection:
    """What one pass over a frame has found so far; at most `most` candidates of each stratum are kept."""

    edges: Edges
    key: bytes
    most: int
    population: list[int] = field(init=False)
    histogram: list[int] = field(init=False)
    sums: list[float] = field(init=False)
    _kept: list[list[tuple[int, int, float]]] = field(init=False)

    def __post_init__(self) -> None:
        strata = len(self.edges.low)
        self.population, self.histogram = [0] * strata, [0] * BINS
        self.sums = [0.0] * strata
        self._kept = [[] for _ in range(strata)]

    def add(self, images: Iterable[ScoredImage]) -> None:
        """Look at further images of the frame, in any order, each once."""
        for image in images:
            stratum = self.edges.stratum(image.score)
            self.population[stratum] += 1
            self.histogram[histogram_bin(image.score)] += 1
            self.sums[stratum] += log_odds(image.score)
            # The heap's first is the largest digest that is kept.
            entry = (-self._digest(image.image_id), image.image_id, image.score)
            kept = self._kept[stratum]
            if len(kept) < self.most:
                heapq.heappush(kept, entry)
            elif entry > kept[0]:
                heapq.heapreplace(kept, entry)

    def mean_log_odds(self) -> list[float]:
        """Of each stratum's images; 0 of a stratum without any."""
        return mean_of_each(self.sums, self.population)

    @property
    def kept(self) -> list[list[tuple[int, int, float]]]:
        """The candidates of each stratum: less the digest, image and score."""
        return self._kept

    def _digest(self, image_id: int) -> int:
        digest = hashlib.blake2b(image_id.to_bytes(8, "big"), key=self.key, digest_size=8).digest()
        return int.from_bytes(digest, "big")


def mean_of_each(sums: Sequence[float], counts: Sequence[int]) -> list[float]:
    """0 where there is nothing."""
    return [total / count if count else 0.0 for total, count in zip(sums, counts, strict=True)]
