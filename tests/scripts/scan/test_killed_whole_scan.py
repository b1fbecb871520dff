"""A real Airflow in which scans in one piece are killed in each way, and scans reach the end of their time.

Nothing is left a minute later, nothing is false, little is redone; as processes, and as pods that are processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from support.counting_proxy import CountingProxy
from support.fleet import Fleet, jpeg
from support.http_server import HttpAnswer, HttpRequest
from support.live_airflow import LiveAirflow
from support.live_runs import ORPHANS_END_S, RUN_LIMIT_S
from support.live_scan import SMALL_BATCHES, LiveScan, SlowProxy, scan_of
from support.pod_cluster import PodCluster
from support.programs import command_line, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

IMAGES = 400
"""Of each run that is killed, and of each shard whose time ends."""
TIME_S = 120
"""Of each task, as a team may have it. PacedProxy takes longer for so many images, until it is told to be quick."""


class PacedProxy(CountingProxy):
    """Answers late, until it is told not to."""

    is_slow = True

    def respond(self, request: HttpRequest) -> HttpAnswer:
        if self.is_slow and request.method == "POST":
            time.sleep(2.0)
        return super().respond(request)


@dataclass
class Victim:
    """A run over a prefix of its own, in one piece, and how it is killed."""

    scan: LiveScan
    kill: Callable[[LiveScan], object]
    seen: list[psutil.Process] = field(default_factory=list)

    @property
    def scan_id(self) -> str:
        """The id of its scan; empty before that begins."""
        found = self.scan.fleet.rows(f"SELECT scan_id FROM scans WHERE dag_run LIKE '%{self.scan.run_id}'")
        return str(found[0][0]) if found else ""

    def is_in_its_middle(self) -> bool:
        """Whether some of it is stored, and it works; then its processes are remembered."""
        scan_id = self.scan_id
        if not scan_id or self.stored() < IMAGES // 8:
            return False
        for process in self.scan.programs():
            if f"--scan-id={scan_id}" in scan_of(process).split():
                watching = [one for one in process.parents() if "supervisor.py" in " ".join(command_line(one))]
                self.seen = [process, *process.children(recursive=True), *watching]
                return True
        return False

    def stored(self) -> int:
        part = f"SELECT number FROM scans WHERE scan_id = '{self.scan_id}'"
        return int(
            self.scan.fleet.rows(f"SELECT COALESCE(SUM(images), 0) FROM tallies WHERE scan_number IN ({part})")[0][0]
        )

    def is_complete(self) -> bool:
        """Whether MySQL has its certificate, which is what a success has to mean."""
        asked = f"SELECT state, listed FROM scans WHERE scan_id = '{self.scan_id}'"
        return self.scan.fleet.rows(asked) == [("complete", IMAGES)]

    def evict(self) -> None:
        """Have its pod deleted for its node's sake."""
        cluster = self.scan.cluster
        assert cluster is not None
        [pod] = [pod for pod in cluster.created if self.seen[0] in pod.family()]
        cluster.evict(pod.name)


@pytest.fixture(scope="module", params=["processes", "pods"])
def airflow(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveAirflow]:
    limit = {"AIRFLOW__CORE__DEFAULT_TASK_EXECUTION_TIMEOUT": str(TIME_S)}
    environ = {**SMALL_BATCHES, "SNIFFER_RUN_IN": request.param, **limit}
    with LiveAirflow(tmp_path_factory.mktemp("live"), environ) as live:
        live.client.wait_for_dag("scan_bucket", 200)
        live.client.unpause("scan_bucket")
        yield live


@pytest.fixture
def scan(airflow: LiveAirflow, fleet: Fleet, tmp_path: Path) -> Iterator[LiveScan]:
    with SlowProxy(fleet.environ["SNIFFER_SERVING_URL"]) as proxy:
        yield from _scan(airflow, fleet, proxy, tmp_path / "pods")


@pytest.fixture
def timed_scan(airflow: LiveAirflow, fleet: Fleet, tmp_path: Path) -> Iterator[LiveScan]:
    with PacedProxy(fleet.environ["SNIFFER_SERVING_URL"]) as proxy:
        yield from _scan(airflow, fleet, proxy, tmp_path / "pods")


def _scan(airflow: LiveAirflow, fleet: Fleet, proxy: CountingProxy, folder: Path) -> Iterator[LiveScan]:
    if airflow.site.extra_environ["SNIFFER_RUN_IN"] == "processes":
        yield LiveScan(airflow, fleet, proxy, None)
        return
    environ = fleet.environ | SMALL_BATCHES | {"SNIFFER_SERVING_URL": proxy.model_url}
    with PodCluster(folder, environ) as cluster:
        yield LiveScan(airflow, fleet, proxy, cluster)


def assert_little_is_redone(scan: LiveScan, kills: int) -> None:
    images = len(scan.fleet.keys)
    print(f"\n{scan.proxy.again} of {images} images were scored again after {kills} kills")
    assert len(scan.proxy.scored) == images
    assert scan.proxy.again <= images // 100


def test_scans_in_one_piece_are_killed(scan: LiveScan) -> None:
    """SIGKILL to a task's process and to that of Airflow's which watches it; cleared; marked failed; a pod evicted."""
    victims = {
        "task": Victim(scan, lambda one: one.task_process(1).kill()),
        "watcher": Victim(scan, lambda one: one.task_process(1).parents()[0].kill()),
        "clear": Victim(scan, lambda one: one.clear(1)),
        "fail": Victim(scan, lambda one: one.mark_failed(1)),
    }
    if scan.cluster is not None:
        victims["evict"] = Victim(scan, lambda _: victims["evict"].evict())
    for number, (name, victim) in enumerate(victims.items()):
        for image in range(IMAGES):
            scan.fleet.put(f"{name}/{image:04}.jpg", jpeg(number * IMAGES + image))
        victim.scan = LiveScan(scan.airflow, scan.fleet, scan.proxy, scan.cluster)
    for name, victim in victims.items():
        victim.scan.start("scan_bucket", prefix=f"{name}/", shards=1)
    waiting = dict(victims)

    def one_in_its_middle() -> str:
        return next((name for name, victim in waiting.items() if victim.is_in_its_middle()), "")

    while waiting:
        eventually(one_in_its_middle, f"one of {[*waiting]} works: {_told(victims)}", RUN_LIMIT_S)
        name = one_in_its_middle()
        victim = waiting.pop(name)
        # The worst moment: more is scored than is stored.
        scored = len(scan.proxy.scored)
        eventually(lambda: len(scan.proxy.scored) > scored, "more is scored")  # noqa: B023
        victim.kill(victim.scan)
        assert not victim.is_complete(), f"{name} was done before it was killed"
        # A pod whose worker alone is dead works on, and the next try follows it.
        if not (scan.cluster is not None and name in ("task", "watcher")):
            victim.scan.seen = victim.seen
            victim.scan.seen_are_gone()

    failed = victims.pop("fail")
    eventually(lambda: failed.scan.state() == "failed", "the run ends as failed, as it was marked", RUN_LIMIT_S)
    assert failed.scan.task("certify")["state"] == "upstream_failed", failed.scan.told()
    assert not failed.is_complete()
    for name, victim in victims.items():
        eventually(lambda: victim.scan.state() in ("success", "failed"), f"{name} ends", RUN_LIMIT_S)  # noqa: B023
        assert victim.scan.state() == "success", (name, victim.scan.told())
        assert victim.is_complete(), f"{name} is successful and not complete"
        # What was evicted is started again, which is no retry.
        assert victim.scan.task("scan", 0)["try_number"] == (1 if name == "evict" else 2), (name, victim.scan.told())
    failed.scan.clear(1)
    eventually(lambda: failed.scan.state() in ("success", "failed"), "what was marked is run again", RUN_LIMIT_S)
    assert failed.scan.state() == "success" and failed.is_complete(), failed.scan.told()
    left = scan.cluster.orphans if scan.cluster is not None else scan.programs
    eventually(lambda: not left(), f"no orphan of {left()}", ORPHANS_END_S)
    scan.fleet.assert_every_object_has_one_row()
    assert_little_is_redone(scan, len(victims) + 1)


@pytest.mark.parametrize("shards", [1, 2], ids=["in one piece", "shards"])
def test_the_time_of_a_scan_ends(timed_scan: LiveScan, shards: int) -> None:
    scan, proxy = timed_scan, timed_scan.proxy
    assert isinstance(proxy, PacedProxy)
    scan.fleet.fill(shards * IMAGES)

    def states() -> set[str]:
        return {scan.task("scan", index)["state"] for index in range(shards)}

    scan.start("scan_bucket", shards=shards)
    scan.is_in_its_middle(0.05)
    eventually(lambda: states() == {"up_for_retry"}, "each task's time has ended", 2 * TIME_S)
    scan.seen_are_gone()
    left = scan.cluster.orphans if scan.cluster is not None else scan.programs
    eventually(lambda: not left(), f"no orphan of {left()}", ORPHANS_END_S)
    for index in range(shards):
        where = f"{scan.path}/taskInstances/scan/logs/1?full_content=true&map_index={index}"
        assert "AirflowTaskTimeout" in str(scan.airflow.call("GET", where)["content"])
    stored = scan.fleet.stored()
    assert 0 < stored < len(scan.fleet.keys)
    assert not scan.fleet.rows("SELECT scan_id FROM scans WHERE state = 'complete'")

    proxy.is_slow = False
    scan.ends_well(shards)
    assert {scan.task("scan", index)["try_number"] for index in range(shards)} == {2}, scan.told()
    assert_little_is_redone(scan, shards)


def _told(victims: dict[str, Victim]) -> str:
    return "; ".join(f"{name}: {victim.scan.told()}" for name, victim in victims.items())
