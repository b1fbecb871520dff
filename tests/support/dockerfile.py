"""The Dockerfile, as far as the tests ask."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Stage:
    """One stage of the Dockerfile: what it is from, and its instructions, each as one line."""

    name: str
    base: str
    lines: tuple[str, ...]


def stages_of(dockerfile: Path) -> dict[str, Stage]:
    """The Dockerfile's stages by name."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(), flags=re.MULTILINE)
    lines = [line.strip() for line in re.sub(r"\\\n\s*", " ", text).splitlines() if line.strip()]
    found: dict[str, Stage] = {}
    current = ""
    for line in lines:
        if match := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            current = match[2]
            found[current] = Stage(current, match[1], ())
        elif current:
            found[current] = Stage(current, found[current].base, (*found[current].lines, line))
    return found


def chain(stages: dict[str, Stage], name: str) -> list[Stage]:
    """The stage and those that it is from, the nearest first."""
    return [stages[name], *chain(stages, stages[name].base)] if name in stages else []
