"""Of many like cases some are in every run, and none is in no run."""

from __future__ import annotations

from pathlib import Path

import pytest

CASES = """
import pytest

@pytest.mark.sampled(3)
@pytest.mark.parametrize("ask", range(2))
@pytest.mark.parametrize("speaker", range(4))
def test_many(speaker, ask): ...

def test_one(): ...
"""


@pytest.mark.parametrize(("chosen", "count"), [("not slow", 4), ("slow", 5), ("", 9)])
def test_each_third_case_is_in_every_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], chosen: str, count: int
) -> None:
    (tmp_path / "test_cases.py").write_text(CASES)
    hook = "from support.sampling import mark_left_out\nimport pytest\n\n@pytest.hookimpl(tryfirst=True)\n"
    hook += "def pytest_collection_modifyitems(items): mark_left_out(items)\n"
    (tmp_path / "conftest.py").write_text(hook)
    words = [
        "-q",
        "-p",
        "no:cacheprovider",
        "--import-mode=importlib",
        "-m",
        chosen,
        f"--rootdir={tmp_path}",
        "-c",
        str(tmp_path / "none.ini"),
    ]
    (tmp_path / "none.ini").write_text("[pytest]\n")
    assert pytest.main([*words, str(tmp_path)]) == 0
    assert f"{count} passed" in capfd.readouterr().out
