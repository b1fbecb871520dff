"""A real Airflow whose rollouts are killed while they promote: no version is stable that is not, and a rerun ends well.

test_killed_rollout.py has the program killed at each of its changes; here it is a task that is marked as failed, and
one whose scheduler is killed with its workers.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.live_airflow import LiveAirflow
from support.live_runs import RUN_LIMIT_S, LiveRun, Place, family
from support.programs import eventually
from support.replicas import Site
from support.scratch_bucket import ScratchBucket

from sniffer.adapters.mysql.database import Database
from sniffer.core.model_records import ModelStatus

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

MODULE = "sniffer_rollout"
FORM = {"version": 2, "limits": {"latency_floor_ms": 10000, "latency_rounds": 1}}


@pytest.fixture
def place(
    site: Site,
    database: Database,
    bucket: ScratchBucket,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Place]:
    """Version 1 is stable and served, version 2 published; Airflow rolls out there."""
    site.publish(1, status=ModelStatus.STABLE)
    site.step("restore")
    site.publish(2, "other")
    environ = {
        "SNIFFER_RUN_IN": "processes",
        "SNIFFER_ROLLOUT_TARGET": site.target,
        "AIRFLOW_VAR_SNIFFER_MODEL_BASE": str(site.base),
    }
    monkeypatch.delenv("SNIFFER_DATABASE_URL")  # the Connection says which
    with LiveAirflow(tmp_path_factory.mktemp("live"), environ) as live:
        yield Place(live, None, database, site.database_url, bucket.endpoint_url, site.replicas[0].url)


def promotes(place: Place) -> LiveRun:
    """A run whose `promote` has told the servers, and all of its transaction but the last word: the worst moment."""
    run = place.start("rollout_serving", **FORM)
    eventually(lambda: place.waits_for("promotions"), f"it promotes: {run.states()}", RUN_LIMIT_S)
    return run


def test_a_promotion_is_killed(place: Place, site: Site) -> None:
    with place.locked("promotions"):
        run = promotes(place)
        seen = family(run.program(MODULE))
        run.mark_failed("promote")
        run.assert_gone(seen)
    run.ends("failed")
    assert site.statuses() == {1: "stable", 2: "blessed"}
    assert place.events("serving_model") == 0
    assert all(1 in replica.available() for replica in site.replicas), "what scans are pinned to is served"
    run.clear("restore")
    eventually(lambda: run.states()["restore"] == "success", f"it is taken back: {run.states()}", RUN_LIMIT_S)
    run.ends("failed")
    site.eventually_served([1], stable=1)

    with place.locked("promotions"):
        run = promotes(place)
        seen = family(run.program(MODULE))
        place.airflow.kill_scheduler(with_workers=True)
        run.assert_gone(seen)
    assert site.statuses() == {1: "stable", 2: "blessed"}
    assert place.events("serving_model") == 0
    place.airflow.start_scheduler()
    run.ends("success")
    assert site.statuses() == {1: "previous", 2: "stable"}
    assert place.rows("SELECT version FROM promotions ORDER BY number") == [(1,), (2,)]
    assert place.events("serving_model") == 1
    site.eventually_served([1, 2], stable=2)
