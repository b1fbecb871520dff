"""Limits that a form lets a person change: each has a name, a kind of number, and bounds. Any other name is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Bounds:
    """A number from `least` to `most`, both included; a whole one if `whole`."""

    least: float
    most: float
    whole: bool = False

    def schema(self) -> dict[str, str | float]:
        """The JSON schema of such a number."""
        return {"type": "integer" if self.whole else "number", "minimum": self.least, "maximum": self.most}

    def in_words(self) -> str:
        """For a help text: `0 to 1`, or `whole, 1 to 1,024`."""
        return f"{'whole, ' if self.whole else ''}{self.least:,g} to {self.most:,.10g}"


SHARE = Bounds(0, 1)

Limits: TypeAlias = Mapping[str, Bounds]
