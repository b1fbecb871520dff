"""Plays histories of the code with one defect planted, until one fails."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

# Imported here so that every child has what takes long to import, and imports only our own code anew.
import simulation.history  # noqa: F401
from simulation.defects.defect import Defect

SCRIPTS = Path(__file__).parents[2] / "scripts"
_OURS = ("sniffer", "simulation")


@dataclass(frozen=True, slots=True)
class Catch:
    """How a defect showed: the first seed that failed and why; None when no seed did."""

    defect: str
    seed: int | None
    violation: str | None


def hunt(defects: Iterable[Defect], seeds: int) -> Iterator[Catch]:
    """The catches, as they come, on all cores."""
    work = [(defect, seeds) for defect in defects]
    # A child for each defect: what it has imported is good for nothing else.
    with get_context("fork").Pool(len(os.sched_getaffinity(0)), maxtasksperchild=1) as pool:
        for name, seed, violation in pool.imap_unordered(_hunt_one, work, chunksize=1):
            yield Catch(name, seed, violation)


def _hunt_one(work: tuple[Defect, int]) -> tuple[str, int | None, str | None]:
    defect, seeds = work
    with tempfile.TemporaryDirectory() as folder:
        scripts = Path(folder) / "scripts"
        shutil.copytree(SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
        defect.plant(scripts)
        sys.dont_write_bytecode = True
        sys.path.insert(0, str(scripts))
        for name in [name for name in sys.modules if name.partition(".")[0] in _OURS]:
            del sys.modules[name]
        history = importlib.import_module("simulation.history")
        plan_of = importlib.import_module("simulation.plan").plan_of
        for seed in range(seeds):
            violation = history.check(plan_of(seed)).violation
            if violation:
                return defect.name, seed, violation
    return defect.name, None, None
