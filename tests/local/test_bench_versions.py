"""What one version of a full-size ResNet50 and each further one may cost the model server."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_a_server_s_memory_keeps_its_bounds(tmp_path: Path) -> None:
    # Here, since most tests beside this file do without TensorFlow, which takes seconds to import.
    from sniffer_local.bench_versions import measure_versions

    figures = measure_versions(tmp_path)
    bounded = [figure for figure in figures if figure.bound is not None]
    assert len(bounded) == 2
    assert all(figure.holds for figure in bounded), [figure.describe() for figure in figures]
