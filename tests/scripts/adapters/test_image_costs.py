"""No file costs more than 3 s of CPU and 1 GiB, whatever it holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bombs import BOMBS
from support.decode_cost import cost_of


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_no_file_costs_more_than_3_s_and_1_gib(name: str, tmp_path: Path) -> None:
    cost = cost_of(BOMBS[name](), tmp_path)
    assert cost.cpu_s < 3
    assert cost.peak_bytes < 1 << 30
