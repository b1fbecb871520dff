"""CPU time and memory of the processes that a benchmark looks at."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import psutil


@dataclass(slots=True)
class Watch:
    """Samples CPU time and memory of a process tree while it runs."""

    process: psutil.Popen
    cpu_s: dict[int, list[tuple[float, float]]] = field(default_factory=dict)
    rss_bytes: dict[int, list[int]] = field(default_factory=dict)

    def sample_until_end(self) -> None:
        """Look every 0.2 s until the process has ended."""
        while self.process.poll() is None:
            for child in _family(self.process):
                self._sample(child)
            time.sleep(0.2)

    def _sample(self, child: psutil.Process) -> None:
        try:
            if "sniffer.scan" in child.cmdline():
                return
            times, memory = child.cpu_times(), child.memory_info()
        except psutil.Error:
            return
        self.cpu_s.setdefault(child.pid, []).append((time.time(), times.user + times.system))
        self.rss_bytes.setdefault(child.pid, []).append(memory.rss)

    def cpu_between(self, began: float, ended: float) -> float:
        """CPU seconds that the fleet used between two moments."""
        spent = 0.0
        for samples in self.cpu_s.values():
            inside = [cpu for moment, cpu in samples if began <= moment <= ended]
            spent += inside[-1] - inside[0] if inside else 0.0
        return spent

    def peak_bytes(self) -> int:
        """The most that one process held."""
        return max(max(samples) for samples in self.rss_bytes.values())

    def growth_bytes(self) -> int:
        """By how much a process's peak in the last third exceeds that of the middle third, at worst."""
        grown = [0]
        for samples in self.rss_bytes.values():
            third = len(samples) // 3
            if third:
                grown.append(max(samples[-third:]) - max(samples[third : 2 * third]))
        return max(grown)


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
