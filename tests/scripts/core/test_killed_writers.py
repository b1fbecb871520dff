"""Whoever reads a file finds it whole, whenever its writer was killed; the next writer removes what that one left."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sniffer.core import files
from sniffer.core.files import check_writable, replacing, write_text

WRITER = """
import json, sys
from pathlib import Path
from sniffer.core.files import replacing, write_json
folder = Path(sys.argv[1])
for number in range(1_000_000):
    write_json(folder / "certificate.json", {"number": number, "text": "x" * 3_000_000})
    with replacing(folder / f"{number % 3}.npy", family="shard") as file:
        for _ in range(100):
            file.write(b"y" * 30_000)
    if number == 0:
        print("ready", flush=True)
"""


def strays(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_half_written_file_is_seen_and_nothing_stays(tmp_path: Path, how: signal.Signals) -> None:
    moments = random.Random(12)
    for _ in range(6):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
        try:
            assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
            time.sleep(moments.uniform(0, 0.05))
        finally:
            writer.send_signal(how)
            writer.communicate()
        assert len(json.loads((tmp_path / "certificate.json").read_text())["text"]) == 3_000_000
        assert {path.stat().st_size for path in tmp_path.glob("[0-9].npy")} == {3_000_000}
        assert len(strays(tmp_path)) <= 1, "each writer removes what the one before has left"
    write_text(tmp_path / "certificate.json", "{}")
    with replacing(tmp_path / "0.npy", family="shard"):
        pass
    assert strays(tmp_path) == []


def test_a_writer_at_work_keeps_its_part_and_so_do_files_of_others(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    others = [tmp_path / ".result.json-notes", tmp_path / f".other.json-{'a' * 32}"]
    for other in others:
        other.touch()
    with replacing(path) as file:
        write_text(path, "of another process")
        file.write(b"of a slow one")
    assert path.read_text() == "of a slow one"
    assert strays(tmp_path) == sorted(other.name for other in others)


def test_many_writers_at_once_never_lose_their_part(tmp_path: Path) -> None:
    def write(writer: int) -> None:
        for number in range(50):
            write_text(tmp_path / "state.json", json.dumps({"writer": writer, "number": number}))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert json.loads((tmp_path / "state.json").read_text())["number"] == 49
    assert strays(tmp_path) == []


def test_a_failure_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    write_text(tmp_path / "state.json", "before")
    with pytest.raises(RuntimeError), replacing(tmp_path / "state.json") as file:
        file.write(b"half")
        raise RuntimeError
    assert (tmp_path / "state.json").read_text() == "before" and strays(tmp_path) == []


def test_whoever_asks_whether_a_file_can_be_written_is_taken_for_no_dead_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, fresh = tmp_path / "result.json", files._fresh_part

    def overtaken(*arguments: Any) -> tuple[Path, Any]:
        part, file = fresh(*arguments)

        def close() -> None:
            file.close()
            files._sweep(tmp_path, path.name)  # another writer, the moment its lock is gone

        return part, SimpleNamespace(close=close)

    monkeypatch.setattr(files, "_fresh_part", overtaken)
    check_writable(path)
    assert strays(tmp_path) == []
