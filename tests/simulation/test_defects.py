"""The simulation would notice: each of many planted defects is caught within ten thousand seeds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from simulation.defects import DEFECTS
from simulation.defects.defect import Defect
from simulation.hunt import SCRIPTS, hunt

SEEDS = 10_000
STALE = ("NameError(", "AttributeError(", "TypeError(", "ImportError(")


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_every_defect_can_be_planted_still(defect: Defect, tmp_path: Path) -> None:
    target = tmp_path / defect.file
    target.parent.mkdir(parents=True)
    shutil.copy(SCRIPTS / defect.file, target)
    defect.plant(tmp_path)
    compile(target.read_text(), defect.file, "exec")
    assert target.read_text() != (SCRIPTS / defect.file).read_text()


def test_the_defects_are_many_and_each_says_what_it_would_do_to_a_user() -> None:
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS) >= 30
    assert all(defect.harm for defect in DEFECTS)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_planted_defect_is_caught() -> None:
    catches = list(hunt(DEFECTS, SEEDS))
    assert len(catches) == len(DEFECTS)
    survivors = [catch.defect for catch in catches if catch.seed is None]
    assert survivors == []
    # What cannot even run was written for the code of another day: it says nothing of what the simulation notices.
    stale = [catch for catch in catches if any(error in str(catch.violation) for error in STALE)]
    assert stale == []
