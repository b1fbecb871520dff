"""The process beside the scheduler that deletes what dead workers have left: started with it, and ended with it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from support.airflow_home import HOME
from support.kube_config import kube_config
from support.pod_cluster import PodCluster
from support.programs import eventually
from support.task_context import TaskInstance, TaskStateStore, task_context

from sniffer_airflow.executors import sweeper
from sniffer_airflow.executors.airflow_id import VARIABLE, airflow_id, ensure_airflow_id
from sniffer_airflow.executors.pod import PodProgramOperator

PROGRAMS = Path(__file__).parent / "programs"
STARTS = (
    "import time; from sniffer_airflow.executors.sweeper import start; print(start().pid, flush=True); time.sleep(600)"
)


def test_it_is_the_scheduler_that_starts_it_and_only_for_pods(
    airflow_database: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.jobs.job import Job
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session

    monkeypatch.delenv("AIRFLOW_VAR_SNIFFER_AIRFLOW_ID")
    started: list[str] = []
    monkeypatch.setattr(sweeper, "start", lambda: started.append("it"))
    for argv, place in (("scheduler", "processes"), ("triggerer", "pods"), ("scheduler", "pods")):
        monkeypatch.setattr(sys, "argv", ["/usr/bin/airflow", argv])
        monkeypatch.setenv("SNIFFER_RUN_IN", place)
        sweeper.on_starting(object())
        assert started == []
        assert Variable.get(VARIABLE, default_var=None) is None
        Job()  # type: ignore[no-untyped-call]  # as each of Airflow's commands makes it
    assert started == ["it"]
    made = Variable.get(VARIABLE)
    ensure_airflow_id()  # as a second scheduler, or the next start
    assert re.fullmatch("[0-9a-f]{32}", made) and Variable.get(VARIABLE) == made
    with create_session() as session:
        session.query(Variable).filter(Variable.key == VARIABLE).delete()


def test_an_id_that_somebody_has_emptied_keeps_nothing_from_starting(
    airflow_database: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session

    monkeypatch.delenv("AIRFLOW_VAR_SNIFFER_AIRFLOW_ID")
    with create_session() as session:
        session.add(Variable(key=VARIABLE, val=""))  # type: ignore[no-untyped-call]
    ensure_airflow_id()
    assert Variable.get(VARIABLE) == "", "another id would be another Airflow: its pods would be nobody's"
    with create_session() as session:
        session.query(Variable).filter(Variable.key == VARIABLE).delete()


@pytest.mark.parametrize(
    ("text", "is_tried_again"), [("", True), (" ", True), ("a b", False), ("-a", False), ("a" * 64, False)]
)
def test_without_an_id_no_pod_is_started(text: str, is_tried_again: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is none, a scheduler that starts makes it: after an upgrade that may be a minute behind a worker."""
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_AIRFLOW_ID", text)
    with pytest.raises(AirflowException, match="the Variable sniffer_airflow_id must be up to 63 letters") as caught:
        airflow_id()
    assert isinstance(caught.value, AirflowFailException) is not is_tried_again


@pytest.mark.slow
def test_a_pod_whose_worker_is_dead_and_whose_run_is_marked_failed_is_gone_within_a_minute(
    airflow_database: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunType

    with PodCluster(tmp_path / "pods", {"PYTHONPATH": str(PROGRAMS)}) as cluster:
        connection = {"conn_type": "kubernetes", "extra": {"kube_config": kube_config(cluster.url)}}
        environ = os.environ | {"AIRFLOW_HOME": str(HOME), "AIRFLOW_CONN_KUBERNETES_DEFAULT": json.dumps(connection)}

        class Hook:
            core_v1_client = cluster.api()
            is_in_cluster = True

            def __getattr__(self, name: str) -> object:
                return lambda: None

        monkeypatch.setattr(PodProgramOperator, "hook", Hook())
        for run_id, state in (("marked", DagRunState.FAILED), ("works", DagRunState.RUNNING)):
            with create_session() as session:
                session.add(DagRun("swept", run_id=run_id, run_type=DagRunType.MANUAL, state=state))
            family = f"--family={tmp_path / run_id}"
            task = PodProgramOperator(task_id="scan", module="sniffer.pretend", arguments=[family])
            task.cmds = ["python", "-m", "pretend"]
            context = task_context(TaskInstance("swept", run_id), TaskStateStore())
            # As a worker does that is killed just after.
            task.get_or_create_pod(task.build_pod_request_obj(context), context)
            eventually((tmp_path / run_id).exists, "its program runs")
        began = time.monotonic()
        scheduler = subprocess.Popen([sys.executable, "-c", STARTS], env=environ, stdout=subprocess.PIPE, text=True)
        assert scheduler.stdout is not None
        process = psutil.Process(int(scheduler.stdout.readline()))
        marked, works = cluster.created
        eventually(lambda: marked.name not in cluster.pods and not marked.family(), "the orphan is gone", 60)
        assert time.monotonic() - began < 60 and works.family()
        scheduler.kill()
        scheduler.wait(20)
        eventually(lambda: not process.is_running(), "it ends with the scheduler", 30)
