"""Tests of many like cases: some of the cases in every run, all of them in `make test-all`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest


def mark_left_out(items: Iterable[pytest.Item]) -> None:
    """Mark as slow all but each Nth case of a test that has the mark `sampled(N)`, by the order of its cases."""
    seen: Counter[str] = Counter()
    for item in items:
        mark = item.get_closest_marker("sampled")
        if mark is None:
            continue
        test = item.nodeid.partition("[")[0]
        if seen[test] % mark.args[0]:
            item.add_marker(pytest.mark.slow)
        seen[test] += 1
