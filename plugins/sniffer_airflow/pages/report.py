"""The report of a model version, found by its number or by a DAG run that is about it."""

from __future__ import annotations

from collections.abc import Callable

from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from fastapi.responses import HTMLResponse

from sniffer.adapters.mysql.models import ModelRegistry
from sniffer.core.errors import ContractError, SnifferError
from sniffer.core.report_page import without_mistakes
from sniffer_airflow.executors.results import model_version_in
from sniffer_airflow.names import BACKFILL_DAG, EXPORT_DAG, RETRAIN_DAG, ROLLOUT_DAG, is_scan
from sniffer_airflow.pages.asking import AnswerT, ask_database
from sniffer_airflow.pages.message import HEADERS, message

_VERSION_IN = {
    RETRAIN_DAG: ("gate",),
    EXPORT_DAG: ("export",),
    ROLLOUT_DAG: ("plan",),
    BACKFILL_DAG: ("estimate",),
}
"""For each DAG, the tasks one of whose results names the model version."""
_VERSION_IN_SCAN = ("scan", "scan_backfill")

WHO_SEES_PICTURES = (
    f"are shown to those who may start {RETRAIN_DAG} (the roles User, Op and Admin): ask the administrator of this "
    "Airflow."
)
_WHO_SEES_MISTAKES = f"The worst mistakes, with their pictures, {WHO_SEES_PICTURES}"


def report_of_version(version: int, *, with_pictures: bool) -> HTMLResponse:
    """The report as the gate stored it in MySQL; 404 for a version that was never judged, 503 without MySQL.

    Without pictures the keys of users' images are left out, too; 403 for an older release's, which does not mark them.
    """
    try:
        page = ask_registry(lambda models: models.report(version))
    except SnifferError as error:
        return message(503, "The report cannot be read", f"The report of version {version} cannot be read: {error}")
    if page is None:
        text = f"There is no report of version {version}. The task gate of retrain_model stores it."
        return message(404, "No report", text)
    if not with_pictures:
        try:
            page = without_mistakes(page, f"<p>{_WHO_SEES_MISTAKES}</p>")
        except ContractError:
            text = f"This report is of an older release, and shows pictures of users. {_WHO_SEES_MISTAKES}"
            return message(403, "The report has pictures of users", text)
    return HTMLResponse(page, headers=HEADERS)


def ask_registry(question: Callable[[ModelRegistry], AnswerT]) -> AnswerT:
    """What the table `models` and those beside it say; SnifferError without waiting when MySQL does not answer."""
    return ask_database(lambda database: question(database.models))


def report_of_run(dag_id: str, run_id: str, *, with_pictures: bool) -> HTMLResponse:
    """The report of the version that the run is about. The tab is on every run's page, also where there is none."""
    tasks = _VERSION_IN_SCAN if is_scan(dag_id) else _VERSION_IN.get(dag_id)
    if tasks is None:
        return message(200, "No model report", f"Runs of {dag_id} are not about one model version.")
    version = next(filter(None, (model_version_in(result_of_task(dag_id, run_id, task)) for task in tasks)), None)
    if version is None:
        named = " or ".join(tasks)
        text = f"The report appears here when the task {named} of this run has succeeded and names a model version."
        return message(200, "No model report yet", text)
    return report_of_version(version, with_pictures=with_pictures)


def result_of_task(dag_id: str, run_id: str, task_id: str) -> object:
    """What the task returned, None when nothing (yet)."""
    query = XComModel.get_many(run_id=run_id, key="return_value", task_ids=task_id, dag_ids=dag_id, limit=1)
    with create_session() as session:
        row = session.scalars(query).first()
        return None if row is None else XComModel.deserialize_value(row)
