"""How often reviewers are wrong, from the images that two of them decided.

The model: given what an image shows, reviewers err independently of one another. Each finds a drug with probability r
and takes something else for one with probability f. Where two disagree, whoever resolves it is right. Which images a
second reviewer sees may depend on what the first one said, so only the second one's words are counted: of the drugs
that the first one found, the second finds the share r; where the first one rightly saw none, the share f is a false
alarm. Both have exact Beta posteriors (Jeffreys), whose spread carries into every figure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from sniffer.recall.cells import Cells
from sniffer.recall.gamma import Values


@dataclass(frozen=True, slots=True)
class Pairs:
    """Images that two reviewers decided, by what the second one said.

    `agreed` and `missed`: the first rightly saw a drug, and so did the second, or not. `alarmed` and `neither`: the
    first rightly saw none, and the second said drug, or none.
    """

    agreed: int = 0
    missed: int = 0
    alarmed: int = 0
    neither: int = 0

    @property
    def count(self) -> int:
        """All of them."""
        return self.agreed + self.missed + self.alarmed + self.neither


@dataclass(frozen=True, slots=True)
class Errors:
    """Draws of one reviewer's rates, [draws, 1] each: drugs that are found, and false alarms."""

    found: Values
    false: Values

    @classmethod
    def none(cls, draws: int) -> Self:
        """Reviewers who are never wrong."""
        return cls(np.ones((draws, 1)), np.zeros((draws, 1)))

    @classmethod
    def drawn(cls, pairs: Pairs, draws: int, seed: np.random.Generator) -> Self:
        """From pairs of decisions. The fewer there are, the less is known, and the wider every interval.

        Where second reviewers only confirm drugs, nothing tells of false alarms: they are taken to be none.
        """
        found = seed.beta(pairs.agreed + 0.5, pairs.missed + 0.5, size=(draws, 1))
        if not pairs.alarmed + pairs.neither:
            return cls(found, np.zeros((draws, 1)))
        return cls(found, seed.beta(pairs.alarmed + 0.5, pairs.neither + 0.5, size=(draws, 1)))

    @property
    def has_any(self) -> bool:
        """Whether any draw has an error."""
        return bool(np.any(self.found < 1) or np.any(self.false > 0))

    def rates(self, cells: Cells) -> tuple[Values, Values]:
        """How often a label says drug where there is one, and where there is none: [draws, strata] each."""
        return _of_labels(self.found, self.false, cells)

    def typical(self, cells: Cells) -> tuple[Values, Values]:
        """The same at the mean of the draws: [strata] each."""
        return _of_labels(np.full(1, self.found.mean()), np.full(1, self.false.mean()), cells)


def _of_labels(found: Values, false: Values, cells: Cells) -> tuple[Values, Values]:
    """One word, or two: then a drug is found unless both miss it, and a false alarm needs both.

    Where drugs count once confirmed, a false alarm always needs two.
    """
    alarms = np.where(cells.confirmed, 1.0, cells.twice)
    once = 1 - cells.twice
    return cells.twice * (1 - (1 - found) ** 2) + once * found, alarms * false**2 + (1 - alarms) * false
