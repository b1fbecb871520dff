"""From the decisions about a sample to the counts that figures are made of. Pure."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from sniffer.core.recall_records import KeptDraw
from sniffer.core.review_records import DecisionRow, EnteredBy, Reason, ReviewDecision, counting_decision
from sniffer.core.sample_records import ReviewedSample, SampleStratum
from sniffer.recall.cells import Cells, Counts
from sniffer.recall.gamma import Values
from sniffer.recall.reviewers import Pairs


@dataclass(frozen=True, slots=True)
class Label:
    """What an image of the sample is: None while no decision counts, and then whether a lead is waited for."""

    is_drug: bool | None
    reason: Reason | None = None
    by_two: bool = False
    is_disputed: bool = False


def label_of(decisions: Sequence[DecisionRow]) -> Label:
    """The label by these live decisions. A lead's word is as good as that of two."""
    counts = counting_decision(decisions)
    if counts is None:
        return Label(None, is_disputed=bool(decisions))
    by_lead = counts.entered_by is EnteredBy.APPEAL
    return Label(
        counts.decision is ReviewDecision.DRUG,
        counts.reason,
        by_lead or len({row.reviewer for row in decisions}) > 1,
    )


def pairs_of(samples: Iterable[ReviewedSample]) -> Pairs:
    """What the second reviewers of these images said, where it is known what the images show.

    Of reviewers alone, not of leads, whose word is the truth here.
    """
    counts = Counter[str]()
    for sample in samples:
        truth = label_of(sample.decisions).is_drug
        said = [
            row.decision is ReviewDecision.DRUG
            for row in sorted(sample.decisions, key=lambda row: row.number)
            if row.entered_by is not EnteredBy.APPEAL and row.decision is not ReviewDecision.UNSURE
        ]
        if truth is None or len(said) < 2 or said[0] is not truth:
            continue
        second = said[1]
        counts[("agreed" if second else "missed") if truth else ("alarmed" if second else "neither")] += 1
    return Pairs(**counts)


@dataclass(slots=True)
class _Positives:
    count: int = 0
    weighted: float = 0.0
    squared: float = 0.0

    def add(self, weight: float) -> None:
        self.count += 1
        self.weighted += weight
        self.squared += weight**2


@dataclass(slots=True)
class _Cell:
    """`drawn` and `decided` are sums of 1 / chance."""

    population: int = 0
    drawn: float = 0.0
    labels: int = 0
    decided: float = 0.0
    log_odds: float = 0.0
    flagged: bool = False
    twice: int = 0
    on_one_word: int = 0
    largest: float = 0.0
    positives: _Positives = field(default_factory=_Positives)
    reasons: dict[Reason, _Positives] = field(default_factory=lambda: defaultdict(_Positives))

    def add(self, draw: KeptDraw, stratum: SampleStratum, labels: Sequence[Label], threshold: float) -> None:
        """A stratum of a scan, and what is decided of its sample."""
        weight = 1 / stratum.probability if stratum.probability else float(stratum.population)
        self.population += stratum.population
        self.drawn += stratum.drawn * weight
        self.log_odds += stratum.population * draw.mean_log_odds[stratum.stratum]
        self.flagged = stratum.low >= threshold
        self.largest = max(self.largest, weight)
        for label in labels:
            self.labels += 1
            self.decided += weight
            self.twice += label.by_two and not label.is_drug
            if label.is_drug:
                self.on_one_word += not label.by_two
                self.positives.add(weight)
                if label.reason is not None:
                    self.reasons[label.reason].add(weight)

    def merge(self, other: _Cell) -> None:
        """Take in another cell of the same stratum, of which nothing is decided yet."""
        self.population += other.population
        self.drawn += other.drawn
        self.log_odds += other.log_odds

    @property
    def stands_for(self) -> float:
        """For how many images each stands that those which are decided stand for, since the others drawn are not."""
        return self.drawn / self.decided if self.labels else 1.0


@dataclass(frozen=True, slots=True)
class AuditedDraw:
    """A draw with its strata, its bucket, and what reviewers say of its images."""

    draw: KeptDraw
    strata: Sequence[SampleStratum]
    samples: Sequence[ReviewedSample]


@dataclass(frozen=True, slots=True)
class Audit:
    """All that was seen of some draws together; `by_reason` has the same where only drugs of one kind are drugs."""

    cells: Cells
    by_reason: dict[Reason, Cells]
    undecided: int
    disputed: int


def audit(draws: Sequence[AuditedDraw], threshold: float) -> Audit:
    """Add the draws up: in each stratum those that were drawn from with about the same chance.

    Nights have different chances, and so had buckets until they were drawn from together; what was drawn more often
    must not speak for the rest.
    """
    cells: dict[tuple[int, int], _Cell] = {}
    undecided = disputed = 0
    for one in draws:
        decided: dict[int, list[Label]] = defaultdict(list)
        for sample in one.samples:
            label = label_of(sample.decisions)
            if label.is_drug is None:
                undecided += 1
                disputed += label.is_disputed
            else:
                decided[sample.image.stratum].append(label)
        for stratum in one.strata:
            if stratum.population:
                place = (stratum.stratum, _chance_class(stratum))
                cells.setdefault(place, _Cell()).add(one.draw, stratum, decided[stratum.stratum], threshold)
    found = _merged(cells)
    reasons = {reason for cell in found for reason in cell.reasons}
    whole = _cells_of(found)
    return Audit(
        whole,
        {
            reason: whole.with_positives(*_sums(found, [cell.reasons.get(reason, _Positives()) for cell in found]))
            for reason in Reason
            if reason in reasons
        },
        undecided,
        disputed,
    )


def _chance_class(stratum: SampleStratum) -> int:
    """Chances within a factor of 2 are about the same."""
    return math.floor(math.log2(stratum.probability)) if stratum.probability else 0


def _merged(cells: dict[tuple[int, int], _Cell]) -> list[_Cell]:
    """In order. A cell of which nothing is decided yet goes to the nearest one of its stratum of which something is."""
    found = dict(cells)
    for place, cell in cells.items():
        others = [other for other in found if other[0] == place[0] and found[other].labels]
        if not cell.labels and others:
            found[min(others, key=lambda other: abs(other[1] - place[1]))].merge(found.pop(place))
    return [found[place] for place in sorted(found)]


def _sums(cells: Sequence[_Cell], positives: Sequence[_Positives]) -> tuple[Counts, Values, Values]:
    scale = np.array([cell.stands_for for cell in cells], dtype=float)
    return (
        np.array([one.count for one in positives], dtype=np.int64),
        np.array([one.weighted for one in positives], dtype=float) * scale,
        np.array([one.squared for one in positives], dtype=float) * scale**2,
    )


def _cells_of(found: Sequence[_Cell]) -> Cells:
    flagged = np.array([cell.flagged for cell in found], dtype=bool)
    # On each side of the threshold one word counts as soon as one drug rests on it.
    on_one_word = {side: sum(cell.on_one_word for cell in found if cell.flagged == side) for side in (False, True)}
    positives, weighted, squared = _sums(found, [cell.positives for cell in found])
    labels = np.array([cell.labels for cell in found], dtype=np.int64)
    population = np.array([cell.population for cell in found], dtype=np.int64)
    largest = np.array([cell.largest * cell.stands_for for cell in found], dtype=float)
    # Of what was drawn, and is decided by nobody yet, nothing is known.
    unknown = np.array([cell.drawn > 0 and not cell.labels for cell in found], dtype=bool)
    return Cells(
        population,
        labels,
        positives,
        np.array([cell.log_odds / cell.population for cell in found], dtype=float),
        flagged,
        # Of those without drugs: whether the others were seen twice may depend on what the first reviewer found.
        np.array([cell.twice for cell in found], dtype=float) / np.maximum(labels - positives, 1),
        np.array([not on_one_word[bool(side)] for side in flagged], dtype=bool),
        weighted,
        squared,
        np.where(unknown, population, largest),
    )
