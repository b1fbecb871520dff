"""Airflow's own UI in a real browser: forms and Docs in a narrow window, an approval with its pictures, our pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from support.accessibility import serious_findings
from support.airflow_people import Person, meanwhile
from support.airflow_ui import click, serve_airflow, signed_in
from support.dag_runs import connection_of, run, stand_in
from support.ended_scans import certificate_of
from support.judged import changed_images, gate_verdict
from support.stored_rows import predicted, record

from sniffer.adapters.mysql.database import Database
from sniffer.core.model_records import ModelRecord, ModelStatus
from sniffer.core.records import Outcome, ScanRequest
from sniffer_airflow.names import name_of_run
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


FRAME = "document.querySelector('iframe')?.contentDocument"


def scanned(database: Database, run_id: str) -> None:
    """What a run of scan_bucket has found, besides which a scan of a bucket with a long name is held."""
    database.models.register(ModelRecord(1, "1" * 64, "b" * 64, "1", 0.5, ModelStatus.BLESSED))
    database.models.promote(1)
    for scan_id, bucket, held in (
        (f"{name_of_run('scan_bucket', run_id)}.uploads-1", "uploads", ""),
        ("flood", "a-bucket-with-quite-a-long-name-for-its-uploads", "9 % are flagged"),
    ):
        token = database.scans.open(ScanRequest(scan_id, bucket, dag_run="scan_bucket/r"), 1, 0.5)
        record(database, [predicted(f"{scan_id}/{key}", score) for key, score in (("a", 0.9), ("b", 0.1))], token=token)
        counts = {Outcome.PREDICTED: 2, Outcome.FAILED: 1}
        database.scans.close(certificate_of(counts, scan_id=scan_id, run_number=token.run_number, held=held))
    database.review_queue.refresh()


def test_the_summary_is_in_the_menu_and_the_counts_are_on_a_runs_page(
    ui: str, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", connection_of(database_url))
    run_id = str(run("watch_labels")["run_id"])
    scanned(database, run_id)
    with signed_in(ui, "vera", "VIEWER") as page:
        page.resize(*DESK)
        page.open(f"{ui}/")
        click(page, "Flags and review")
        page.wait_for(f"{FRAME}?.querySelector('h1')?.innerText === 'Flags and review'", 30)
        shown: str = page.run(f"{FRAME}.body.innerText")
        assert "1 of 2 newly scored images were flagged in 28 nights (50.00%). 1 scan held" in shown
        page.run(f"{FRAME}.querySelector('a[href*=source]').click()")
        page.wait_for(f"{FRAME}?.body?.innerText.includes('All sources')", 30)
        page.open(f"{ui}/dags/watch_labels/runs/{quote(run_id, safe='')}/plugin/counts")
        page.wait_for(f"{FRAME}?.body?.innerText.includes('neither scan nor train')", 30)
        overview = f"{ui}/sniffer/overview/"
        counts = f"{ui}/sniffer/run-counts/?dag_id=scan_bucket&run_id={quote(run_id)}"
        for address, heading in ((overview, "Flags and review"), (counts, "Counts of this run")):
            for scheme, window in (("light", DESK), ("dark", DESK), ("light", PHONE)):
                page.prefer(scheme)
                page.resize(*window)
                page.open(address)
                page.wait_for(f"document.querySelector('h1')?.innerText === '{heading}'")
                assert serious_findings(page) == []
                assert page.run("document.documentElement.scrollWidth <= innerWidth")
                assert page.run("performance.getEntriesByType('resource').length") == 0
