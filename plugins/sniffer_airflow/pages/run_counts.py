"""The tab *Counts* on the page of a DAG run: what its scans have found, or what its training was judged by."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi.responses import HTMLResponse

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import ContractError, SnifferError
from sniffer.core.gate_records import GateVerdict
from sniffer.core.json_records import parse_record
from sniffer.core.overview_records import ScanSummary
from sniffer.core.recorded_scan import RecordedScan
from sniffer.core.records import Outcome
from sniffer_airflow.names import BACKFILL_DAG, RETRAIN_DAG, is_scan, name_of_run
from sniffer_airflow.pages.asking import ask_database
from sniffer_airflow.pages.message import message
from sniffer_airflow.pages.overview_figures import HELD, state_in_words
from sniffer_airflow.pages.rendering import page
from sniffer_airflow.pages.report import result_of_task

_TITLE = "No counts"


@dataclass(frozen=True, slots=True)
class RunScan:
    """A scan of the run. `held_for` says why it is held, empty when it is not; `problems` why it is broken."""

    scan: ScanSummary
    state: str
    held_for: str
    problems: tuple[str, ...]

    @property
    def outcomes(self) -> list[tuple[str, int]]:
        """Images by outcome: of the certificate, or stored so far where there is none yet."""
        counts = self.scan.counts if self.scan.listed else self.scan.stored
        return [(str(outcome), counts.get(outcome, 0)) for outcome in Outcome]


def counts_of_run(dag_id: str, run_id: str) -> HTMLResponse:
    """The counts of a scan's or a training's run; of any other a page that says so. 503 without MySQL."""
    if dag_id == RETRAIN_DAG:
        return _counts_of_training(run_id)
    if not is_scan(dag_id) and dag_id != BACKFILL_DAG:
        return message(200, _TITLE, f"Runs of {dag_id} neither scan nor train. What they found is in their tasks.")
    name = name_of_run(dag_id, run_id)
    try:
        scans = ask_database(lambda database: _scans_of(database, name))
    except SnifferError as error:
        return message(503, "The counts cannot be read", f"The counts of this run cannot be read: {error}")
    if not scans:
        text = "This run has started no scan yet. The counts appear here as soon as its task scan or shards runs."
        return message(200, "No counts yet", text)
    return page("run_scans.html", scans=scans)


def _scans_of(database: Database, name: str) -> list[RunScan]:
    recorded = {one.scan_id: one for one in database.scans.of_run(name)}
    return [
        RunScan(
            scan,
            state_in_words(scan),
            database.holds.held_for(scan.scan_id) if scan.state == HELD else "",
            recorded.get(scan.scan_id, RecordedScan(scan.scan_id, scan.state)).problems,
        )
        for scan in database.overview.of_run(name)
    ]


def _counts_of_training(run_id: str) -> HTMLResponse:
    result = result_of_task(RETRAIN_DAG, run_id, "gate")
    if result is None:
        return message(200, "No counts yet", "The counts appear here when the task gate of this run has succeeded.")
    try:
        verdict = parse_record(result, GateVerdict, "the result of gate", "clear gate", ignore_unknown=True)
    except ContractError as error:
        return message(200, _TITLE, f"The counts of this training cannot be shown: {error}")
    return page("run_training.html", verdict=verdict, figures=verdict.figures, evidence=verdict.figures.evidence)
