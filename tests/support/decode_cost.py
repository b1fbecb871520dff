"""What decoding one file costs: run as a program, it prints the outcome, CPU seconds and the peak of memory as JSON.

The rest asks a process of its own, so that neither memory nor a crash is the tests'.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sniffer.adapters.images.render import render
from sniffer.core.errors import UnreadableImage


@dataclass(frozen=True)
class DecodeCost:
    """`outcome`: the error's code, or the number of renderings; `peak_bytes`: of the whole process."""

    outcome: str
    cpu_s: float
    peak_bytes: int


def cost_of(data: bytes, folder: Path) -> DecodeCost:
    file = folder / "picture"
    file.write_bytes(data)
    command = [sys.executable, "-m", "support.decode_cost", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-2000:]}"
    return DecodeCost(**json.loads(done.stdout))


def _outcome(data: bytes) -> str:
    try:
        return str(len(render(data).renderings))
    except UnreadableImage as error:
        return error.code


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def forget_peak() -> None:
    """Let `peak_bytes` count from now on (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """Of this process so far."""
    # What getrusage says would include the parent's memory before this program was loaded.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    content = Path(sys.argv[1]).read_bytes()
    before = _cpu_s()
    found = _outcome(content)
    print(json.dumps({"outcome": found, "cpu_s": _cpu_s() - before, "peak_bytes": peak_bytes()}))
