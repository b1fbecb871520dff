"""One figure of the benchmark: what was measured, and the bound that it must keep."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the result. `at_least` tells on which side of the bound the value must be."""

    name: str
    value: float
    bound: float | None = None
    at_least: bool = True
    unit: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the value is on the right side; None where there is no bound."""
        if self.bound is None:
            return None
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def describe(self) -> str:
        """As one line for a person."""
        if self.bound is None:
            return f"{self.name:52} {self.value:12.3f} {self.unit}"
        sign = ">=" if self.at_least else "<="
        verdict = "holds" if self.holds else "DOES NOT HOLD"
        return f"{self.name:52} {self.value:12.3f} {self.unit:8} {sign} {self.bound:g}: {verdict}"
