"""A DAG for each source of the table, all over the graph of `scan_bucket`; also for one that is wrong, to say so."""

from __future__ import annotations

from airflow.sdk import DAG, get_parsing_context

from sniffer.core.errors import SettingsError
from sniffer.core.text import one_line
from sniffer_airflow.forms.fields import literally
from sniffer_airflow.scan.form import NightlyTarget, source_params
from sniffer_airflow.scan.graph import scan_dag
from sniffer_airflow.scan.source_table import sources_now
from sniffer_airflow.scan.sources import ScanSource, WrongSource
from sniffer_airflow.scan.timetable import NightsAndBackfills


def source_dags(runbook: str) -> list[DAG]:
    """The DAGs of all sources that have a name; SettingsError when there is no reading the table at all.

    A wrong source keeps its DAG, with its runs, and its pause: each night's `plan` fails, and says what is wrong. In a
    task only that task's DAG is made, since each costs 10 ms.
    """
    table, wanted = sources_now(), get_parsing_context().dag_id
    right = [_dag_of(each, runbook) for each in table.sources if wanted in (None, each.dag_id)]
    wrong = [_dag_of_wrong(each, runbook) for each in table.wrong if each.name and wanted in (None, each.dag_id)]
    return [*right, *wrong]


def refuse_wrong_sources() -> None:
    """Raise SettingsError that says what is wrong with which sources, if any is.

    For a DAG file of its own: an import error stops every DAG of its file. Of a table that cannot be read at all,
    `source_dags` tells.
    """
    try:
        table = sources_now()
    except SettingsError:
        return
    if table.wrong:
        raise SettingsError("; ".join(wrong.problem for wrong in table.wrong))


def _dag_of(source: ScanSource, runbook: str) -> DAG:
    target = f"s3://{source.nightly.bucket}/{source.nightly.prefix}"
    facts = {
        "Scans": target,
        "When": f"{source.schedule} (cron, UTC)"
        + ("; each run scans what its day has by then, the first one after midnight all of it" * source.grows),
        "AWS Connection": source.connection,
        **source.environ,
    }
    return scan_dag(
        source.dag_id,
        schedule=NightsAndBackfills(source.schedule),
        params=source_params(source.name, source.nightly, source.form),
        description=one_line(
            f"Scan the source {source.name} for illegal drugs, every night or as it says: {target}", 200
        ),
        doc_md="\n".join(
            [
                f"### Scan the source {source.name}",
                "",
                *(f"* {name}: {literally(text)}" for name, text in facts.items()),
            ]
            + ["", runbook]
        ),
        source=source,
        more_tags=("source",),
    )


def _dag_of_wrong(wrong: WrongSource, runbook: str) -> DAG:
    return scan_dag(
        wrong.dag_id,
        schedule=NightsAndBackfills(),
        params=source_params(wrong.name, NightlyTarget(), {}),
        description=one_line(f"Scans nothing, every night, until its source is right: {wrong.problem}", 200),
        doc_md=f"### The source {wrong.name} is wrong\n\n{literally(wrong.problem)}\n\n{runbook}",
        more_tags=("source", "wrong"),
    )
