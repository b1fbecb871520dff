"""A real Airflow whose runs that train, publish and draw are killed in the middle: nothing is left, nothing is false.

The programs over moto and MariaDB, as processes, and as pods that are processes.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.audited import certified_scan, spread_scores
from support.flaky_s3 import FlakyS3
from support.live_airflow import LiveAirflow
from support.live_runs import RUN_LIMIT_S, Place, family
from support.pod_cluster import PodCluster
from support.programs import eventually
from support.reviewed import decide, flag
from support.scratch_bucket import ScratchBucket
from support.stored_rows import model

from sniffer.adapters.mysql.database import Database
from sniffer.core.review_records import ReviewDecision
from sniffer_local.samples.__main__ import main as draw_samples
from sniffer_model.training.train import main as train
from sniffer_model.workdir import Workdir, read_training

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

IMAGES = 240
LABELS = 150
FORM = {"prevalence": 0.5, "target_precision": 0.5, "limits": {"min_class_images": 15}}
"""What so few images can show."""
TRAIN, PUBLISH, DRAW = "sniffer_model.training.train", "sniffer.review.publish_labels", "sniffer.recall.draw"


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where trainings are; below it `images`, which are drawn."""
    folder = tmp_path_factory.mktemp("training")
    assert draw_samples([f"--out={folder / 'images'}", f"--count={IMAGES}", "--seed=12"]) == 0
    return folder


@pytest.fixture(scope="module", params=["processes", "pods"])
def airflow(
    request: pytest.FixtureRequest, training: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveAirflow]:
    retraining = {"source": str(training / "images"), "backbone_weights": "random"}
    place = training / request.param
    place.mkdir()
    environ = {
        "SNIFFER_RUN_IN": request.param,
        "AIRFLOW_VAR_SNIFFER_TRAINING_DIR": str(place),
        "AIRFLOW_VAR_SNIFFER_MODEL_BASE": str(place / "base"),
        "AIRFLOW_VAR_SNIFFER_RETRAINING": json.dumps(retraining),
    }
    with LiveAirflow(tmp_path_factory.mktemp("live"), environ) as live:
        yield live


@pytest.fixture
def place(
    airflow: LiveAirflow, database: Database, database_url: str, flaky_s3: FlakyS3, tmp_path: Path
) -> Iterator[Place]:
    if airflow.site.extra_environ["SNIFFER_RUN_IN"] == "processes":
        yield Place(airflow, None, database, database_url, flaky_s3.endpoint_url)
        return
    with PodCluster(tmp_path / "pods", {"SNIFFER_DATABASE_URL": database_url}) as cluster:
        yield Place(airflow, cluster, database, database_url, flaky_s3.endpoint_url)


def test_a_training_is_killed(place: Place, training: Path, tmp_path: Path) -> None:
    """Cleared, marked failed, its scheduler killed with its workers, SIGKILL to its task: then it is trained once."""
    airflow, in_pods = place.airflow, place.cluster is not None
    run = place.start("retrain_model", **FORM)

    def is_in_its_middle() -> list[Any]:
        program = run.program(TRAIN)
        eventually(lambda: "to compute" in run.log("train"), f"features are computed: {run.states()}", RUN_LIMIT_S)
        assert program.is_running() and not workdir.training.exists()
        return family(program)

    def nothing_is_told() -> None:
        assert not workdir.training.exists() and not workdir.verdict.exists()
        assert place.rows("SELECT version FROM models") == []
        assert not {"evaluate", "gate", "bless"} & {
            name for name, state in run.states().items() if state not in ("none", "upstream_failed")
        }, run.states()

    run.program(TRAIN)
    workdir = Workdir(Path(airflow.client.task_result("retrain_model", run.run_id, "plan")["workdir"]))
    seen = is_in_its_middle()
    run.clear("train")
    run.assert_gone(seen)
    nothing_is_told()

    seen = is_in_its_middle()
    run.mark_failed("train")
    run.assert_gone(seen)
    run.ends("failed")
    nothing_is_told()
    run.clear("train")

    seen = is_in_its_middle()
    airflow.kill_scheduler(with_workers=True)
    if not in_pods:
        run.assert_gone(seen)
        nothing_is_told()
    airflow.start_scheduler()
    if not in_pods:
        eventually(lambda: run.states()["train"] != "running" or run.programs(TRAIN), "it is noticed", RUN_LIMIT_S)
    if run.states()["train"] == "up_for_retry":
        run.clear("train")

    # Among the epochs, of which each is kept.
    eventually(workdir.head_checkpoint.exists, f"the head is trained: {run.states()}", RUN_LIMIT_S)
    program = run.program(TRAIN)
    seen = family(program)
    (program if in_pods else run.task_process("train")).kill()
    run.assert_gone(seen)
    nothing_is_told()
    eventually(lambda: run.states()["train"] == "up_for_retry", f"it is noticed: {run.states()}", RUN_LIMIT_S)
    run.clear("train")
    run.ends("success")

    verdict, record = json.loads(workdir.verdict.read_text()), read_training(workdir)
    assert verdict["training_digest"] == record.digest
    status = "blessed" if verdict["blessed"] else "rejected"
    assert place.rows("SELECT version, status FROM models") == [(verdict["version"], status)]
    assert place.events("blessed_model") == verdict["blessed"]
    # As if nobody had killed anything.
    undisturbed = Workdir(tmp_path / "undisturbed")
    undisturbed.path.mkdir()
    undisturbed.manifest.write_bytes(workdir.manifest.read_bytes())
    cache = training / airflow.site.extra_environ["SNIFFER_RUN_IN"] / "features"
    flags = [f"--workdir={undisturbed.path}", f"--feature-cache={cache}", "--backbone-weights=random"]
    assert train(flags) == 0
    assert read_training(undisturbed) == record


def test_labels_are_published_and_killed_meanwhile(place: Place, bucket: ScratchBucket, flaky_s3: FlakyS3) -> None:
    """SIGKILL to the task while S3 takes the table: there is the old table, or the new one, and one event of it."""
    key = "2026/part-review.csv"
    flag(place.database, {"a.jpg": 0.9, "b.jpg": 0.8, "c.jpg": 0.7})
    decide(place.database, "a.jpg")

    run = place.start("publish_labels", review_labels=f"s3://{bucket.name}/{key}")
    run.ends("success")
    old = bucket.client.get_object(Bucket=bucket.name, Key=key)["Body"].read()
    assert b"a.jpg" in old and place.events("published_labels") == 1

    decide(place.database, "b.jpg", ReviewDecision.NOT_DRUG)
    held, released = threading.Event(), threading.Event()

    def hold(method: str, _path: str) -> None:
        if method == "PUT" and not released.is_set():
            held.set()
            assert released.wait(RUN_LIMIT_S)

    flaky_s3.refuse = hold
    run = place.start("publish_labels", review_labels=f"s3://{bucket.name}/{key}")
    eventually(held.is_set, f"the table is written: {run.states()}", RUN_LIMIT_S)
    program = run.program(PUBLISH)
    seen = family(program)
    (program if place.cluster else run.task_process("publish")).kill()
    run.assert_gone(seen)
    assert bucket.client.get_object(Bucket=bucket.name, Key=key)["Body"].read() == old
    eventually(lambda: run.states()["publish"] == "up_for_retry", f"it is noticed: {run.states()}", RUN_LIMIT_S)
    released.set()  # what was sent arrives late, whole
    assert place.events("published_labels") == 1
    run.clear("publish")
    run.ends("success")
    new = bucket.client.get_object(Bucket=bucket.name, Key=key)["Body"].read()
    assert b"a.jpg" in new and b"b.jpg" in new and new.startswith(old.splitlines()[0])
    assert place.events("published_labels") == 2


@pytest.mark.parametrize("how", ["SIGKILL", "mark failed"])
def test_a_draw_is_killed(place: Place, how: str) -> None:
    """In its transaction, of which all was said but the last table: there is no draw, and then there is one."""
    place.database.models.register(model(1))
    place.database.models.promote(1)
    certified_scan(place.database, "night", spread_scores(1200, seed=1)[0])
    kept = ("recall_draws", "review_samples", "review_sample_strata", "review_queue")
    with place.locked("review_queue"):
        run = place.start("measure_recall", labels=LABELS)
        eventually(lambda: place.waits_for("review_queue"), f"it draws: {run.states()}", RUN_LIMIT_S)
        program = run.program(DRAW)
        seen = family(program)
        if how == "mark failed":
            run.mark_failed("draw")
        else:
            (program if place.cluster else run.task_process("draw")).kill()
        run.assert_gone(seen)
    if how == "mark failed":
        run.ends("failed")
    else:
        eventually(lambda: run.states()["draw"] == "up_for_retry", f"it is noticed: {run.states()}", RUN_LIMIT_S)
    assert [place.rows(f"SELECT COUNT(*) FROM {table}") for table in kept] == [[(0,)]] * len(kept)
    run.clear("draw")
    run.ends("success")
    assert place.rows("SELECT COUNT(DISTINCT image_id), COUNT(*) FROM review_samples") == [(LABELS, LABELS)]
    assert place.rows("SELECT COUNT(*) FROM recall_draws") == [(1,)]
