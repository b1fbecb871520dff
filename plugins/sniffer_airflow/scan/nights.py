"""Where the nights of all sources stand, judged by what Airflow and MySQL say of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sniffer.core.recorded_scan import COMPLETE, INCOMPLETE, RUNNING, RecordedScan
from sniffer.core.text import one_line
from sniffer_airflow.forms.fields import Json

HOLDS, NOT_DUE = "holds", "not due"
LATE, HELD, MISSING, FAILED = "late", "held", "missing", "failed"

_IN_ORDER = (NOT_DUE, HOLDS, RUNNING, LATE, HELD, MISSING, FAILED)
"""The later, the worse. A state that a newer release writes to MySQL is taken for as bad as HELD."""
_FINE = frozenset({HOLDS, NOT_DUE, RUNNING})
_START = timedelta(minutes=30)
"""So long Airflow may take to make a run."""
_ENDED, _SUCCESS = ("success", "failed"), "success"
_DETAIL_CHARS = 300


@dataclass(frozen=True)
class NightRun:
    """One run that the schedule asked for, and what there is of it."""

    due_at: datetime
    run_id: str
    state: str | None
    """Airflow's; None: there is no such run."""
    scans: tuple[RecordedScan, ...] = ()


@dataclass(frozen=True)
class SourceNight:
    """A line of the summary: one source, by the worst of its runs."""

    source: str
    dag_id: str
    state: str
    detail: str = ""
    listed: int = 0
    flagged_new: int = 0
    due_at: str = ""
    url: str = ""

    @property
    def is_fine(self) -> bool:
        """Whether nobody needs to look at it."""
        return self.state in _FINE

    def document(self) -> dict[str, Json]:
        """As JSON-ready values."""
        return asdict(self)

    def in_words(self) -> str:
        """One line."""
        counts = f", {self.listed:,} listed, {self.flagged_new:,} newly flagged" if self.state == HOLDS else ""
        return " ".join(filter(None, (f"{self.source}: {self.state}{counts}", self.detail, self.url)))


def night_of(
    source: str,
    dag_id: str,
    runs: Sequence[NightRun],
    *,
    now: datetime,
    late_after: timedelta,
    is_paused: bool,
    urls: Mapping[str, str],
) -> SourceNight:
    """The source's line. `urls` has the page of each run by its id."""
    lines: list[SourceNight] = []
    for run in runs:
        state, detail = _judged(run, now, late_after, is_paused=is_paused)
        lines.append(
            SourceNight(
                source,
                dag_id,
                state,
                one_line(detail, _DETAIL_CHARS),
                sum(scan.listed for scan in run.scans),
                sum(scan.flagged_new for scan in run.scans),
                run.due_at.isoformat(),
                urls.get(run.run_id, "") if run.state is not None else "",
            )
        )
    # Of those that are equally bad, the newest.
    return max(reversed(lines), key=_badness, default=SourceNight(source, dag_id, NOT_DUE))


def all_in_words(nights: Iterable[SourceNight]) -> str:
    """Those that somebody has to look at, in one line; empty when there is none."""
    return "; ".join(f"{night.source} is {night.state}" for night in nights if not night.is_fine)


def in_order(nights: Iterable[SourceNight]) -> list[SourceNight]:
    """The worst first."""
    return sorted(nights, key=lambda night: (-_badness(night), night.source))


def _badness(night: SourceNight) -> int:
    return _IN_ORDER.index(night.state if night.state in _IN_ORDER else HELD)


def _judged(run: NightRun, now: datetime, late_after: timedelta, *, is_paused: bool) -> tuple[str, str]:
    """State and detail of one run."""
    if run.state is None:
        if is_paused:
            return MISSING, f"its DAG is paused: no run for {run.due_at.isoformat()}"
        if now < run.due_at + _START:
            return RUNNING, "about to start"
        return MISSING, f"Airflow made no run for {run.due_at.isoformat()}"
    states = [state for scan in run.scans for state in (scan.state, *sorted(scan.shard_states))]
    unknown = [state for state in states if state not in (RUNNING, COMPLETE, INCOMPLETE)]
    if unknown:
        return unknown[0], "see its run" if run.state in _ENDED else ""
    if run.state not in _ENDED:
        limit = run.due_at + late_after
        return (LATE, f"still {run.state}, due by {limit.isoformat()}") if now > limit else (RUNNING, "")
    problems = [problem for scan in run.scans for problem in scan.problems]
    holds = all(scan.state == COMPLETE and scan.is_certified for scan in run.scans)
    if run.state != _SUCCESS:
        mended = "its certificate holds by now: clear the failed task" if run.scans and holds else ""
        return FAILED, "; ".join(problems) or mended or "the log of its failed task says why"
    # No task is believed by its state alone.
    if not run.scans:
        return FAILED, "Airflow calls the run a success, but MySQL has no scan of it"
    if not holds:
        return FAILED, "; ".join(["Airflow calls the run a success, but its certificate does not hold", *problems])
    return HOLDS, ""
