"""The page *Flags and review*: flags per night, what waits for reviewers, certificates, coverage. Counts alone."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from fastapi.responses import HTMLResponse

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import ContractError, SnifferError
from sniffer.core.json_records import parse_record
from sniffer.core.model_records import ModelRecord
from sniffer.core.overview_records import QueueSummary, ScanSummary
from sniffer.core.recall_records import MeasuredRecall
from sniffer.core.recall_words import share_in_words
from sniffer.core.text import one_line
from sniffer_airflow.forms.variables import in_words, read_variable
from sniffer_airflow.names import RETRAINING_VARIABLE
from sniffer_airflow.pages.asking import ask_database
from sniffer_airflow.pages.bars import draw_bars
from sniffer_airflow.pages.message import message
from sniffer_airflow.pages.overview_figures import (
    Coverage,
    added,
    coverage_of,
    covering,
    flags_by_night,
    forecast,
    sources_of,
)
from sniffer_airflow.pages.rendering import page

NIGHTS, PACE_DAYS = 28, 7
MOST_SCANS, MOST_SOURCES, MOST_QUEUED, MOST_DECIDED = 6000, 100, 100_000, 100_000
_MOST_RECALL = 50
SOURCE_PATTERN = r"^[0-9a-f]{64}$"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReviewersCapacity:
    """What the Variable of trainings says of the reviewers; its other fields are for trainings."""

    capacity: int | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """All that the page says, as MySQL has it."""

    scans: tuple[ScanSummary, ...]
    queue: QueueSummary
    decided: Mapping[date, int]
    stable: ModelRecord | None
    coverage: list[Coverage]
    recall: tuple[MeasuredRecall, ...]


def overview(now: datetime, source: str | None = None) -> HTMLResponse:
    """The page, for all sources or with the nights of one; 404 for one without a scan, 503 without MySQL."""
    try:
        found = ask_database(lambda database: _ask(database, now))
    except SnifferError as error:
        text = f"What is stored cannot be read: {error}. The scans themselves are under Dags, with their runs."
        return message(503, "The figures cannot be read", text)
    of_source = [scan for scan in found.scans if source in (None, scan.source)]
    if source is not None and not of_source:
        return message(404, "No such source", f"None of its scans was started in the last {NIGHTS} nights.")
    nights = flags_by_night(of_source, now.date(), NIGHTS)
    sources = sources_of(found.scans, now.date(), NIGHTS)
    return page(
        "overview.html",
        now=now,
        shown=next((one for one in sources if one.source == source), None),
        nights=nights,
        total=added(nights, now.date()),
        bars=draw_bars,
        sources=sources[:MOST_SOURCES],
        sources_left_out=len(sources) - MOST_SOURCES,
        oldest_night=found.scans[-1].night if len(found.scans) == MOST_SCANS else None,
        most_scans=MOST_SCANS,
        night_count=NIGHTS,
        stable=found.stable,
        coverage=found.coverage[:MOST_SOURCES],
        recall=found.recall[:_MOST_RECALL],
        share_in_words=share_in_words,
        **_backlog(found, now),
    )


def _ask(database: Database, now: datetime) -> Overview:
    scans = database.overview.scans(_midnight(now, NIGHTS), MOST_SCANS)
    stable = database.models.stable()
    covered = covering(scans, stable.version)[:MOST_SOURCES] if stable else []
    return Overview(
        scans,
        database.overview.queue(MOST_QUEUED),
        database.overview.decided(_midnight(now, PACE_DAYS), MOST_DECIDED),
        stable,
        coverage_of(covered, database.overview.codes([scan.number for scan in covered])),
        database.recall.latest(stable.version) if stable else (),
    )


def _backlog(found: Overview, now: datetime) -> dict[str, object]:
    """What the page says of the reviewers' work."""
    days = [now.date() - timedelta(days=ago) for ago in range(PACE_DAYS)]
    decided = [(day, found.decided.get(day, 0)) for day in days]
    inflow = added(flags_by_night(found.scans, now.date(), PACE_DAYS), now.date()).flagged / PACE_DAYS
    pace = sum(count for _, count in decided) / PACE_DAYS
    capacity, problem = _capacity()
    waiting, is_all = found.queue.waiting, found.queue.is_all
    return {
        "queue": found.queue,
        "oldest_days": None if found.queue.oldest is None else max(0, (now - found.queue.oldest).days),
        "decided": decided,
        "pace_days": PACE_DAYS,
        "inflow": inflow,
        "pace": pace,
        "capacity": capacity,
        "capacity_problem": problem,
        "capacity_variable": RETRAINING_VARIABLE,
        "at_pace": forecast(waiting, inflow, pace, is_all=is_all),
        "at_capacity": None if capacity is None else forecast(waiting, inflow, capacity, is_all=is_all),
    }


def _capacity() -> tuple[int | None, str]:
    """How many reviews a night the reviewers can do, and what is wrong with the Variable that says so."""
    where = in_words(RETRAINING_VARIABLE)
    try:
        text = read_variable(RETRAINING_VARIABLE)
    except Exception as error:  # noqa: BLE001 - a secrets backend raises whatever its client does
        # Its text is left out: it is another system's, and may hold a secret.
        log.warning("%s cannot be read for a page: %s", where, type(error).__name__)
        return None, f"{where} cannot be read at the moment ({type(error).__name__})"
    try:
        remedy = 'it looks like {"capacity": 3000}'
        found = parse_record(json.loads(text or "{}"), ReviewersCapacity, where, remedy, ignore_unknown=True)
    except (ValueError, RecursionError) as error:
        return None, f"{where} is not JSON ({one_line(error, 100)})"
    except ContractError as error:
        return None, one_line(error)
    if found.capacity is not None and found.capacity < 1:
        return None, f"capacity of {where} must be at least 1, not {found.capacity}"
    return found.capacity, ""


def _midnight(now: datetime, nights: int) -> datetime:
    """When the first of the last so many nights began, of which today's is one."""
    return datetime.combine(now.date() - timedelta(days=nights - 1), time(), UTC)
