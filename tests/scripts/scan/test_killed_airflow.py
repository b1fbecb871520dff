"""A real Airflow whose parts are killed in the middle of a scan: nothing is left, nothing is false, little is redone.

Scheduler with LocalExecutor, DAG processor and API server over PostgreSQL; the programs over moto, MariaDB and a model
server, as processes, and as pods that are processes. What was killed is taken up by Airflow itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.fleet import Fleet
from support.live_airflow import LiveAirflow
from support.live_runs import RUN_LIMIT_S
from support.live_scan import SMALL_BATCHES, Doubles, LiveScan, SlowProxy
from support.pod_cluster import PodCluster
from support.programs import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

IMAGES = 1200
REFUSED_S = 20.0
"""Within this, Airflow refuses the heartbeat of a try that it has given up, and that try ends its program."""
RATES = '{"as_of": "2026-11-01", "gpus": 0}'
FORMS: dict[str, dict[str, object]] = {"scan_bucket": {}, "backfill_bucket": {"most_images": 10 * IMAGES}}


@pytest.fixture(scope="module", params=["processes", "pods"])
def airflow(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveAirflow]:
    environ = {**SMALL_BATCHES, "SNIFFER_RUN_IN": request.param, "AIRFLOW_VAR_SNIFFER_RATES": RATES}
    with LiveAirflow(tmp_path_factory.mktemp("live"), environ) as live:
        for dag_id in FORMS:
            live.client.wait_for_dag(dag_id, 200)
            live.client.unpause(dag_id)
        yield live


@pytest.fixture
def scan(airflow: LiveAirflow, fleet: Fleet, tmp_path: Path) -> Iterator[LiveScan]:
    fleet.fill(IMAGES)
    with SlowProxy(fleet.environ["SNIFFER_SERVING_URL"]) as proxy:
        if airflow.site.extra_environ["SNIFFER_RUN_IN"] == "processes":
            yield LiveScan(airflow, fleet, proxy, None)
            return
        environ = fleet.environ | SMALL_BATCHES | {"SNIFFER_SERVING_URL": proxy.model_url}
        with PodCluster(tmp_path / "pods", environ) as cluster:
            yield LiveScan(airflow, fleet, proxy, cluster)


def assert_little_is_redone(scan: LiveScan, kills: int) -> None:
    print(f"\n{scan.proxy.again} of {IMAGES} images were scored again after {kills} kills of {scan.dag_id}")
    assert len(scan.proxy.scored) == IMAGES
    assert scan.proxy.again <= IMAGES // 100


@pytest.mark.parametrize(
    ("dag_id", "shards", "with_workers"),
    [
        ("scan_bucket", 2, True),
        ("scan_bucket", 2, False),
        ("scan_bucket", 1, True),
        ("backfill_bucket", 2, True),
    ],
    ids=["shards, with its workers", "shards, alone", "one scan", "backfill"],
)
def test_a_scheduler_is_killed_and_another_started(
    scan: LiveScan, airflow: LiveAirflow, dag_id: str, shards: int, with_workers: bool
) -> None:
    with Doubles(scan.programs) as doubles:
        scan.start(dag_id, shards=shards, **FORMS[dag_id])
        scan.is_in_its_middle(0.2)
        airflow.kill_scheduler(with_workers=with_workers)
        if scan.cluster is None and with_workers:
            scan.seen_are_gone()
        airflow.start_scheduler()
        if scan.cluster is None:
            scan.seen_are_gone()
        scan.ends_well(shards)
    assert doubles.looks
    if with_workers:
        assert not doubles.found
    else:
        # The old tries live, and so do their programs: each waits for the other's end or for its lease, never works.
        assert all(seconds < REFUSED_S for seconds in doubles.found.values()), doubles.found
    if scan.cluster is not None:
        pods = [len(scan.scan_pods(f"{index}" if shards > 1 else "")) for index in range(shards)]
        if with_workers:
            assert pods == [1] * shards, "each pod was followed by the next try, none replaced"
        else:
            assert max(pods) <= 2, "an old try ended its pod once, as when a person clears it"
    assert_little_is_redone(scan, 1)


def test_tasks_are_killed(scan: LiveScan, airflow: LiveAirflow) -> None:
    """SIGKILL to a task's process and to that of Airflow's which watches it; cleared; marked failed; a pod evicted."""
    kills: list[Callable[[int], object]] = [
        lambda shard: scan.task_process(shard).parents()[0].kill(),
        lambda shard: scan.task_process(shard).kill(),
        scan.clear,
        scan.mark_failed,
    ]
    if scan.cluster is not None:
        kills.insert(2, scan.evict)
    in_pods = scan.cluster is not None
    with Doubles(scan.programs) as doubles:
        scan.start("scan_bucket", shards=len(kills))
        for shard, kill in enumerate(kills, 1):
            scan.shard_is_in_its_middle(shard)
            kill(shard)
            # A pod whose worker alone is dead works on, and the next try follows it.
            if not (in_pods and shard <= 2):
                scan.seen_are_gone()
        eventually(lambda: scan.state() == "failed", "the run ends as failed, as it was marked", RUN_LIMIT_S)
        last = len(kills)
        assert scan.task("scan", last - 1)["state"] == "failed", scan.told()
        assert scan.task("certify")["state"] == "upstream_failed", scan.told()
        parts = "SELECT COUNT(*) FROM scans WHERE state = 'complete'"
        assert scan.fleet.rows(parts) == [(last - 1,)], "each that is successful for Airflow is complete, and no other"
        scan.clear(last)
        scan.ends_well(last)
    assert doubles.looks and not doubles.found
    assert_little_is_redone(scan, last)
