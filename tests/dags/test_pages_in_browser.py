"""Airflow's own UI in a real browser: forms and Docs in a narrow window, and an approval with its pictures."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from support.airflow_people import Person, meanwhile
from support.airflow_ui import click, serve_airflow, signed_in
from support.dag_runs import connection_of, run, stand_in
from support.judged import changed_images, gate_verdict

from sniffer.adapters.mysql.database import Database
from sniffer.core.model_records import ModelRecord, ModelStatus
from sniffer_local.browser import PROGRAMS, Page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not any(map(shutil.which, PROGRAMS)), reason="no Chromium is installed"),
]

# The dialog of a DAG's Docs has a width of its own, which is more than a phone's.
PHONE, NARROW, DESK = (390, 800), (600, 800), (1440, 1400)
GOLDEN = {"http://one:8501": {"pixels": 1e-6, "serving_default": 0.001}}
RESULTS = {
    "preflight": {"version": 2},
    "load": {"version": 2},
    "verify": {"version": 2, "stable": 1, "golden": GOLDEN},
    "promote": {"previous_stable": 1, "stable": 2, "previous": 1},
    "restore": {"stable": 1, "previous": None},
}


@pytest.fixture(scope="module")
def ui(airflow_database: None) -> Iterator[str]:
    with serve_airflow() as url:
        yield url


def register(database: Database) -> None:
    """Version 2, whose pictures the gate has kept, beside the stable version 1."""
    database.models.register(ModelRecord(1, "1" * 64, "b" * 64, "1", 0.5, ModelStatus.BLESSED))
    database.models.promote(1)
    record = ModelRecord(2, "", "b" * 64, "1", 0.5, ModelStatus.BLESSED, "t" * 64)
    assert database.models.reserve(record) == 2
    found = changed_images((0.1, 0.9), (0.8, 0.2))
    database.models.record_verdict(2, record, None, replace(gate_verdict(), version=2), "<p>report</p>", found)
    database.models.register(replace(record, digest="2" * 64))


def test_an_approval_shows_its_pictures_to_those_who_may_see_them(
    ui: str, tmp_path: Path, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(RESULTS, tmp_path / "calls", monkeypatch)
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_MODEL_BASE", "s3://models")
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", connection_of(database_url))
    register(database)
    ben = Person("ben")

    def look(role: str) -> tuple[int, list[str]]:
        """How wide the pictures of the approval are, -1 for those that are not shown, and their words."""
        question = ben.question("rollout_serving")
        task = question["task_instance"]
        run_id = quote(task["dag_run_id"], safe="")
        with signed_in(ui, "ben", role) as page:
            page.resize(*DESK)
            page.open(f"{ui}/dags/rollout_serving/runs/{run_id}/tasks/approve/required_actions")
            images = "[...document.querySelectorAll('img[src*=changed-images]')]"
            page.wait_for(f"{images}.length && {images}.every(image => image.complete)")
            width: int = page.run(f"{images}[0].naturalWidth")
            words: list[str] = page.run(f"{images}.map(image => image.alt)")
        return width, words

    def people() -> None:
        width, words = look("USER")
        assert width > 400 and words == ["Pictures of test images whose verdict changes"]
        assert look("VIEWER") == (0, words)
        ben.answer(ben.question("rollout_serving"), "Approve")

    with meanwhile(people):
        ended = run("rollout_serving", version=2, approval=True)
    assert ended["run"] == "success"


@pytest.fixture(scope="module")
def phone(ui: str) -> Iterator[Page]:
    run("watch_labels")  # whatever runs brings all DAGs into the database
    with signed_in(ui, "ana", "ADMIN") as page:
        page.resize(*PHONE)
        yield page


DIALOG = "[...document.querySelectorAll('[role=dialog]')].at(-1)"


def too_wide(page: Page, what: str) -> list[str]:
    """Texts of the dialog that go beyond the window. What scrolls by itself, such as a block of code, may."""
    texts = f"[...{DIALOG}.querySelectorAll('{what}')]"
    assert page.run(f"{texts}.length") > 5
    beyond = "one => one.getBoundingClientRect().right > innerWidth + 1"
    found: list[str] = page.run(f"{texts}.filter({beyond}).map(one => one.innerText)")
    return found


@pytest.mark.parametrize("dag_id", ["scan_bucket", "retrain_model", "rollout_serving"])
def test_the_docs_of_a_dag_can_be_read_in_a_narrow_window(ui: str, phone: Page, dag_id: str) -> None:
    phone.resize(*NARROW)
    phone.open(f"{ui}/dags/{dag_id}")
    click(phone, "Dag Docs")
    phone.wait_for(f"{DIALOG}?.querySelector('h3')")
    assert too_wide(phone, "p, li, h3, h4") == []


@pytest.mark.parametrize("dag_id", ["scan_bucket", "retrain_model", "rollout_serving"])
def test_the_form_of_a_dag_can_be_filled_in_in_a_narrow_window(ui: str, phone: Page, dag_id: str) -> None:
    phone.resize(*PHONE)
    phone.open(f"{ui}/dags/{dag_id}")
    click(phone, "Trigger")
    phone.wait_for(f"{DIALOG}?.querySelectorAll('label, input').length > 4")
    assert too_wide(phone, "label, input, p") == []
