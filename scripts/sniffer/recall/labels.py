"""From the decisions about a sample to the counts that figures are made of. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from sniffer.core.recall_records import KeptDraw
from sniffer.core.review_records import DecisionRow, EnteredBy, Reason, ReviewDecision, counting_decision
from sniffer.core.sample_records import ReviewedSample, SampleStratum
from sniffer.recall.cells import Cells
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
class _Cell:
    population: int = 0
    labels: int = 0
    positives: int = 0
    log_odds: float = 0.0
    flagged: bool = False
    twice: int = 0
    on_one_word: int = 0
    reasons: Counter[Reason] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class AuditedDraw:
    """A draw with its strata, its bucket, and what reviewers say of its images."""

    draw: KeptDraw
    strata: Sequence[SampleStratum]
    samples: Sequence[ReviewedSample]


@dataclass(frozen=True, slots=True)
class Audit:
    """All that was seen of some draws together; `by_reason` counts the positives of each cell by kind of drugs."""

    cells: Cells
    by_reason: dict[Reason, list[int]]
    undecided: int
    disputed: int

    def of_reason(self, reason: Reason) -> Cells:
        """The same sample, where only drugs of that kind are drugs."""
        return self.cells.with_positives(np.array(self.by_reason[reason]))


def audit(draws: Sequence[AuditedDraw], threshold: float) -> Audit:
    """Add the draws up, each stratum of each bucket on its own, as buckets are drawn from at rates of their own."""
    cells: dict[tuple[str, int], _Cell] = {}
    undecided = disputed = 0
    for one in draws:
        for stratum in one.strata:
            if stratum.population:
                cell = cells.setdefault((one.draw.bucket, stratum.stratum), _Cell())
                cell.population += stratum.population
                cell.log_odds += stratum.population * one.draw.mean_log_odds[stratum.stratum]
                cell.flagged = stratum.low >= threshold
        for sample in one.samples:
            label = label_of(sample.decisions)
            if label.is_drug is None:
                undecided += 1
                disputed += label.is_disputed
                continue
            cell = cells[one.draw.bucket, sample.image.stratum]
            cell.labels += 1
            cell.twice += label.by_two and not label.is_drug
            if label.is_drug:
                cell.positives += 1
                cell.on_one_word += not label.by_two
                if label.reason is not None:
                    cell.reasons[label.reason] += 1
    found = [cells[key] for key in sorted(cells)]
    reasons = {reason for cell in found for reason in cell.reasons}
    return Audit(
        _cells_of(found),
        {reason: [cell.reasons[reason] for cell in found] for reason in Reason if reason in reasons},
        undecided,
        disputed,
    )


def _cells_of(found: Sequence[_Cell]) -> Cells:
    flagged = np.array([cell.flagged for cell in found], dtype=bool)
    # On each side of the threshold one word counts as soon as one drug rests on it.
    on_one_word = {side: sum(cell.on_one_word for cell in found if cell.flagged == side) for side in (False, True)}
    return Cells(
        np.array([cell.population for cell in found], dtype=np.int64),
        np.array([cell.labels for cell in found], dtype=np.int64),
        np.array([cell.positives for cell in found], dtype=np.int64),
        np.array([cell.log_odds / cell.population for cell in found], dtype=float),
        flagged,
        # Of those without drugs: whether the others were seen twice may depend on what the first reviewer found.
        np.array([cell.twice / max(cell.labels - cell.positives, 1) for cell in found], dtype=float),
        np.array([not on_one_word[bool(side)] for side in flagged], dtype=bool),
    )
