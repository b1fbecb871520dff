"""Several scans that are drawn from as one frame, so that a night's budget holds however many scans there are. Pure.

In each stratum of all of them together the images with the smallest keyed digests are drawn: each has the same known
chance, whatever scan it is of, also where in the end none of a small scan is drawn.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sniffer.core.errors import SettingsError
from sniffer.core.recall_records import DrawPlan, FrameDraw, RecallFrame
from sniffer.core.sample_records import NightlySample, SampledImage, SampleStratum
from sniffer.recall.allocation import allocation, expected_shares
from sniffer.recall.cells import Counts
from sniffer.recall.selection import Edges, Selection, mean_of_each


@dataclass(frozen=True, slots=True)
class _Seen:
    """A frame after the pass over it."""

    frame: RecallFrame
    population: tuple[int, ...]
    mean_log_odds: tuple[float, ...]
    histogram: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An image that may be drawn: of a stratum those of largest `rank` are. `frame` counts the frames as they came."""

    rank: int
    image_id: int
    score: float
    frame: int


@dataclass(slots=True)
class Pool:
    """What one pass over each frame has found; of each stratum at most `plan.labels` candidates are kept."""

    edges: Edges
    plan: DrawPlan
    _seen: list[_Seen] = field(init=False, default_factory=list)
    _sums: list[float] = field(init=False)
    _kept: list[list[_Candidate]] = field(init=False)

    def __post_init__(self) -> None:
        self._sums = [0.0] * len(self.edges.low)
        self._kept = [[] for _ in self.edges.low]

    def selection(self) -> Selection:
        """To look at one frame with."""
        return Selection(self.edges, self.plan.key, self.plan.labels)

    def add(self, frame: RecallFrame, selection: Selection) -> None:
        """A frame that was looked at, once."""
        for stratum, candidates in enumerate(selection.kept):
            if not candidates:
                continue
            self._sums[stratum] += selection.sums[stratum]
            ours = [*self._kept[stratum], *(_Candidate(*each, len(self._seen)) for each in candidates)]
            self._kept[stratum] = heapq.nlargest(self.plan.labels, ours, key=lambda one: (one.rank, one.image_id))
        means = tuple(selection.mean_log_odds())
        self._seen.append(_Seen(frame, tuple(selection.population), means, tuple(selection.histogram)))

    def draw(self) -> list[FrameDraw]:
        """What is drawn of each frame, `plan.labels` images of all together, or all that there are.

        Raises SettingsError where these are fewer than the strata that have images.
        """
        if not self._seen:
            return []
        population: Counts = np.array([one.population for one in self._seen], dtype=np.int64).sum(axis=0)
        if self.plan.labels < (filled := int(np.count_nonzero(population))):
            raise SettingsError(
                f"--labels {self.plan.labels} is too few: the scores of these scans lie in {filled} strata, and one "
                f"image at least is drawn of each; give {filled} or more"
            )
        means = np.array(mean_of_each(self._sums, [int(images) for images in population]))
        expected = expected_shares(means, self.plan.height, self.plan.slope)
        counts = allocation(population, expected, np.array(self.edges.is_flagged()), self.plan.labels)
        chances = (counts / np.maximum(population, 1)).tolist()
        drawn = [kept[: int(count)] for kept, count in zip(self._kept, counts, strict=True)]
        return [self._of_frame(number, chances, drawn) for number in range(len(self._seen))]

    def _of_frame(self, number: int, chances: Sequence[float], drawn: Sequence[Sequence[_Candidate]]) -> FrameDraw:
        seen = self._seen[number]
        images = tuple(
            SampledImage(one.image_id, seen.frame.model_version, one.score, stratum, chances[stratum])
            for stratum, of_stratum in enumerate(drawn)
            for one in of_stratum
            if one.frame == number
        )
        counts = Counter(image.stratum for image in images)
        strata = tuple(
            SampleStratum(place, low, high, there, counts[place], chances[place] if there else None)
            for place, (low, high, there) in enumerate(
                zip(self.edges.low, self.edges.high, seen.population, strict=True)
            )
        )
        sample = NightlySample(seen.frame.night, seen.frame.scan_number, strata, images)
        return FrameDraw(seen.frame, sample, seen.mean_log_odds, seen.histogram)
