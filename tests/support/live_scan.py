"""A run of a DAG that scans, in a real Airflow, by programs as processes or as pods: watched, killed, and judged."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote

import psutil

from support.counting_proxy import CountingProxy
from support.fleet import Fleet
from support.http_server import HttpAnswer, HttpRequest
from support.kube_config import kubernetes_connection
from support.live_airflow import LiveAirflow
from support.live_runs import ORPHANS_END_S, RUN_LIMIT_S, connections, living
from support.pod_cluster import PodCluster, RunningPod
from support.programs import command_line, eventually

ANSWER_S = 0.5
"""How long the model takes: a shard lasts as long as it takes Airflow to notice that something is dead."""
SMALL_BATCHES = {
    "SNIFFER_BATCH_SIZE": "4",
    "SNIFFER_BEAT_S": "0.2",
    "SNIFFER_CONSUMER_DEADLINE_S": "10",
    "SNIFFER_PRODUCER_DEADLINE_S": "20",
}
"""As few images are worked on at a time as are fit for a bucket of so few."""
_LOOK_S = 0.3
_INDEX = "sniffer/map-index"


class SlowProxy(CountingProxy):
    """Answers late."""

    def respond(self, request: HttpRequest) -> HttpAnswer:
        if request.method == "POST":
            time.sleep(ANSWER_S)
        return super().respond(request)


class Doubles:
    """Looks all the time whether there are two programs for the same range of keys."""

    def __init__(self, find: Callable[[], list[psutil.Process]]) -> None:
        self.found: dict[str, float] = {}
        """For how many seconds at a time, at the most, which of them had two."""
        self.looks = 0
        self._since: dict[str, float] = {}
        self._find = find
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(20)

    def _look(self) -> None:
        while not self._ended.wait(_LOOK_S):
            now, seen = time.monotonic(), Counter(scan for process in self._find() if (scan := scan_of(process)))
            self._since = {scan: self._since.get(scan, now) for scan, count in seen.items() if count > 1}
            for scan, since in self._since.items():
                self.found[scan] = max(self.found.get(scan, 0.0), now - since)
            self.looks += bool(seen)


def scan_of(process: psutil.Process) -> str:
    """What the program `sniffer.scan` works at; empty for any other process, such as its supervisor."""
    words = command_line(process)
    if "sniffer.scan" not in words[:4]:
        return ""
    return " ".join(word for word in words if word.startswith(("--scan-id=", "--shard-of=", "--shard=")))


@dataclass
class LiveScan:
    """A run over the filled bucket; `cluster` is where its programs are pods."""

    airflow: LiveAirflow
    fleet: Fleet
    proxy: CountingProxy
    cluster: PodCluster | None
    dag_id: str = ""
    run_id: str = ""
    seen: list[psutil.Process] = field(default_factory=list)

    def start(self, dag_id: str, **form: object) -> None:
        """Tell Airflow of this test's systems, and start a run."""
        self._connect()
        self.dag_id = dag_id
        self.run_id = self.airflow.client.trigger(dag_id, {"bucket": self.fleet.bucket.name, "consumers": 1, **form})

    @property
    def path(self) -> str:
        return f"/dags/{self.dag_id}/dagRuns/{quote(self.run_id, safe='')}"

    def state(self) -> str:
        return self.airflow.client.run_state(self.dag_id, self.run_id)

    def task(self, task_id: str, map_index: int = -1) -> dict[str, Any]:
        """What Airflow says of it."""
        return next(one for one in self._tasks() if (one["task_id"], one["map_index"]) == (task_id, map_index))

    def programs(self) -> list[psutil.Process]:
        """All processes of its programs that live."""
        if self.cluster is not None:
            return [process for pod in self.cluster.created for process in pod.family()]
        return self.airflow.programs()

    def task_process(self, shard: int) -> psutil.Process:
        """The process in which Airflow runs the shard's task; its parent watches it."""
        return psutil.Process(self.task("scan", shard - 1)["pid"])

    def mark_failed(self, shard: int) -> None:
        """As a person does in the UI."""
        self.airflow.call("PATCH", f"{self.path}/taskInstances/scan/{shard - 1}", {"new_state": "failed"})

    def clear(self, shard: int) -> None:
        """As a person does in the UI, with what comes after it."""
        which = {"dag_run_id": self.run_id, "task_ids": [["scan", shard - 1]], "include_downstream": True}
        how = {"dry_run": False, "only_failed": False, "reset_dag_runs": True}
        self.airflow.call("POST", f"/dags/{self.dag_id}/clearTaskInstances", which | how)

    def evict(self, shard: int) -> None:
        """Have the shard's pod deleted for its node's sake."""
        assert self.cluster is not None
        self.cluster.evict(self.scan_pods(f"{shard - 1}")[-1].name)

    def scan_pods(self, map_index: str = "") -> list[RunningPod]:
        """All pods so far that scan a shard, or that one."""
        assert self.cluster is not None
        found = [(pod, pod.document["metadata"]["annotations"].get(_INDEX)) for pod in self.cluster.created]
        return [pod for pod, index in found if index is not None and map_index in ("", index)]

    def is_in_its_middle(self, share: float) -> None:
        """Return once so much is stored, and more has been scored that is not: the worst moment."""

        def is_there() -> bool:
            assert self.state() in ("queued", "running"), self.told()
            return self.fleet.stored() >= share * len(self.fleet.keys)

        eventually(is_there, f"{share:.0%} is stored", RUN_LIMIT_S)
        scored = len(self.proxy.scored)
        eventually(lambda: len(self.proxy.scored) > scored, "more is scored, which is not stored yet")
        self.seen = self.programs()
        assert self.seen, self.told()

    def shard_is_in_its_middle(self, shard: int) -> None:
        """The same for one of several shards, of which some images are stored."""

        def scans() -> list[psutil.Process]:
            return [one for one in self.programs() if scan_of(one).endswith(f"--shard={shard}")]

        def stored() -> int:
            part = f"SELECT number FROM scans WHERE scan_id LIKE '%.{shard}'"
            tallied = f"SELECT COALESCE(SUM(images), 0) FROM tallies WHERE scan_number IN ({part})"
            return int(self.fleet.rows(tallied)[0][0])

        eventually(lambda: scans() and stored() > 20, f"shard {shard} works", RUN_LIMIT_S)
        [program] = scans()
        self.seen = [program, *program.children(recursive=True)]

    def seen_are_gone(self) -> None:
        """What worked before the kill is gone within a minute."""
        eventually(lambda: not living(self.seen), f"nothing is left of {living(self.seen)}", ORPHANS_END_S)

    def ends_well(self, shards: int) -> None:
        """The run succeeds, all of its shards are complete and certified as one, and no process is left."""
        eventually(lambda: self.state() in ("success", "failed"), "the run ends", RUN_LIMIT_S)
        assert self.state() == "success", self.told()
        left = self.cluster.orphans if self.cluster is not None else self.programs
        eventually(lambda: not left(), f"no orphan of {left()}", ORPHANS_END_S)
        whole = self.fleet.rows("SELECT state, listed FROM scans ORDER BY number LIMIT 1")
        assert whole == [("complete", len(self.fleet.keys))]
        assert self.fleet.rows("SELECT DISTINCT state FROM scans") == [("complete",)]
        if shards > 1:
            assert self.fleet.rows("SELECT COUNT(*) FROM shards") == [(shards,)]
        self.fleet.assert_every_object_has_one_row()

    def told(self) -> str:
        """The states of its tasks, for a message."""
        return "; ".join(
            f"{one['task_id']} {one['map_index']} {one['state']} {one['try_number']}" for one in self._tasks()
        )

    def _tasks(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.airflow.call("GET", f"{self.path}/taskInstances")["task_instances"]
        return found

    def _connect(self) -> None:
        found = connections(self.fleet.database_url, self.fleet.bucket.endpoint_url, self.proxy.url)
        if self.cluster is not None:
            found.append(kubernetes_connection(self.cluster.url))
        self.airflow.connect(*found)
