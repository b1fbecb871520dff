"""Shards killed in every way there is, as processes and as pods: nothing is left, nothing is false, little is redone.

Real programs over a bucket, a database and a model server; the tasks are real operators in processes of their own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.counting_proxy import CountingProxy
from support.fleet import Fleet
from support.pod_cluster import PodCluster
from support.programs import PATIENCE_S, Program, eventually

SHARDS, IMAGES = 5, 1500
ORPHANS_END_S = 60.0
TESTS = Path(__file__).parents[2]


@dataclass
class Shard:
    """The task of one shard, through all its tries."""

    number: int
    words: list[str]
    folder: Path
    cluster: PodCluster | None
    environ: dict[str, str]
    tries: int = 0
    worker: subprocess.Popen[bytes] | None = None
    family: list[psutil.Process] = field(default_factory=list)

    def start(self, *, is_retry: bool = True) -> None:
        """Start a worker's process with its next try, or with the same one after a reschedule."""
        self.tries += is_retry
        asked = {
            "words": [*self.words, "--consumers=1"],
            "cluster": self.cluster.url if self.cluster else "",
            "map_index": self.number - 1,
            "try_number": self.tries,
        }
        (self.folder / "ended.json").unlink(missing_ok=True)
        (self.folder / "task.json").write_text(json.dumps(asked))
        with (self.folder / f"log.{self.tries}").open("ab") as log:
            self.worker = subprocess.Popen(
                [sys.executable, "-m", "support.worker_task", str(self.folder / "task.json")],
                env=os.environ | self.environ | {"PYTHONPATH": str(TESTS)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def end(self) -> dict[str, Any]:
        """How the task ended."""
        assert self.worker is not None
        self.worker.wait(PATIENCE_S)
        assert (self.folder / "ended.json").exists(), self.log()
        ended: dict[str, Any] = json.loads((self.folder / "ended.json").read_text())
        return ended

    def log(self) -> str:
        """What the worker of the last try wrote."""
        return (self.folder / f"log.{self.tries}").read_text()

    def look(self) -> None:
        """Remember the processes of its program, which have to be gone at its end."""
        if self.worker is not None and self.cluster is None:
            self.family = psutil.Process(self.worker.pid).children(recursive=True)

    def kill_worker(self) -> None:
        """SIGKILL to the task's process, as when its machine dies."""
        assert self.worker is not None
        self.worker.kill()
        self.worker.wait(PATIENCE_S)

    def orphans(self) -> list[object]:
        living = [each for each in self.family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
        return [*living, *(self.cluster.orphans() if self.cluster else [])]


@pytest.fixture(params=["processes", "pods"])
def shards(request: pytest.FixtureRequest, fleet: Fleet, tmp_path: Path) -> Iterator[tuple[list[Shard], CountingProxy]]:
    """The planned shards of a bucket, whose model server's answers are counted."""
    fleet.fill(IMAGES)
    with CountingProxy(fleet.environ["SNIFFER_SERVING_URL"]) as proxy:
        environ = fleet.environ | {"SNIFFER_SERVING_URL": proxy.model_url}
        plan = tmp_path / "plan.json"
        asked = [f"--bucket={fleet.bucket.name}", "--scan-id=archive", f"--shards={SHARDS}", f"--result={plan}"]
        with Program("sniffer.scan.plan", *asked, environ=environ) as planning:
            assert planning.wait() == 0, planning.text()
        scans = json.loads(plan.read_text())["scans"]
        with PodCluster(tmp_path / "pods", environ) as cluster:
            found = []
            for number, command in enumerate(scans, 1):
                folder = tmp_path / f"task-{number}"
                folder.mkdir()
                in_pods = cluster if request.param == "pods" else None
                found.append(Shard(number, command["words"], folder, in_pods, {} if in_pods else environ))
            yield found, proxy
            for shard in found:
                if shard.worker is not None and shard.worker.poll() is None:
                    shard.kill_worker()


def _start(fleet: Fleet, shard: Shard, proxy: CountingProxy) -> None:
    """Start the shard, and wait until it has stored some of its images, and has just scored more: the worst moment."""
    enough = fleet.stored() + IMAGES // SHARDS // 5
    shard.start()

    def is_there() -> bool:
        assert shard.worker is not None and shard.worker.poll() is None, shard.log()
        return fleet.stored() >= enough

    eventually(is_there, f"shard {shard.number} is in its middle")
    shard.look()
    scored = len(proxy.scored)
    eventually(lambda: len(proxy.scored) > scored, "more is scored, which is not stored yet")


def _nothing_is_left(shard: Shard) -> None:
    eventually(lambda: not shard.orphans(), f"nothing is left of shard {shard.number}", ORPHANS_END_S)


@pytest.mark.slow
def test_shards_that_are_killed_in_every_way(fleet: Fleet, shards: tuple[list[Shard], CountingProxy]) -> None:
    tasks, proxy = shards
    in_pods = tasks[0].cluster is not None

    def terminate(shard: Shard) -> str:
        """Marked as failed, or cleared."""
        assert shard.worker is not None
        shard.worker.send_signal(signal.SIGTERM)
        return "AirflowException"

    def time_out(shard: Shard) -> str:
        assert shard.worker is not None
        shard.worker.send_signal(signal.SIGALRM)
        return "AirflowTaskTimeout"

    def lose(shard: Shard) -> str:
        """The pod is deleted, as with a spot node; the program is killed where there is none."""
        if shard.cluster is not None:
            shard.cluster.evict(shard.cluster.created[-1].name)
            return "AirflowRescheduleException"
        [program] = [each for each in shard.family if "sniffer.scan" in each.cmdline() and "-P" in each.cmdline()][-1:]
        program.kill()
        return "AirflowException"

    def vanish(shard: Shard) -> str:
        """Its node is gone without a word."""
        if shard.cluster is not None:
            shard.cluster.vanish(shard.cluster.created[-1].name)
            return "AirflowRescheduleException"
        return terminate(shard)

    kills: list[Callable[[Shard], str]] = [terminate, time_out, lose, vanish]
    again_before = proxy.again
    for shard, kill in zip(tasks, kills, strict=False):
        _start(fleet, shard, proxy)
        expected = kill(shard)
        ended = shard.end()
        assert ended["state"] == expected, ended
        _nothing_is_left(shard)
        assert not fleet.rows("SELECT 1 FROM scans WHERE scan_id = 'archive' AND state = 'complete'")
        shard.start(is_retry=expected != "AirflowRescheduleException")
        ended = shard.end()
        assert ended["state"] == "success", ended
        assert ended["result"]["scan_id"] == f"archive.{shard.number}" and ended["result"]["holds"]
        _nothing_is_left(shard)
    last = tasks[-1]
    _start(fleet, last, proxy)
    last.kill_worker()
    if in_pods:
        assert last.orphans()  # it works on, for the next try
    else:
        _nothing_is_left(last)
    last.start()
    ended = last.end()
    assert ended["state"] == "success", ended
    _nothing_is_left(last)
    if last.cluster is not None:
        # Each shard but the last, whose pod was followed again, had two.
        assert len(last.cluster.created) == 2 * len(kills) + 1
    assert fleet.rows("SELECT state, listed FROM scans WHERE scan_id = 'archive'") == [("complete", IMAGES)]
    fleet.assert_every_object_has_one_row()
    assert len(proxy.scored) >= IMAGES  # it has seen them all
    again = proxy.again - again_before
    print(f"{again} of {IMAGES} images were scored again after {len(kills) + 1} kills")
    assert again <= IMAGES // 100
