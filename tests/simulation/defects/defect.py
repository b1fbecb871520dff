"""A defect to plant: one replacement in one file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Defect:
    """`before` stands once in `file` and becomes `after`; `harm` is what a user would see of it."""

    name: str
    file: str
    before: str
    after: str
    harm: str

    def plant(self, scripts: Path) -> None:
        """Put the defect into the file below that folder. ValueError when the text does not stand there once."""
        path = scripts / self.file
        text = path.read_text()
        if text.count(self.before) != 1:
            raise ValueError(f"{self.name}: {self.before!r} stands {text.count(self.before)} times in {self.file}")
        path.write_text(text.replace(self.before, self.after))
