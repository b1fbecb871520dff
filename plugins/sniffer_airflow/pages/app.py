"""Our pages in Airflow's API server, for those who may see the DAG `retrain_model`.

Counts of a run are for those who may also see the runs of its DAG.
Users' pictures and the keys of their images are shown to those alone who may start it: they choose what it looks at.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.models.dag import DagModel
from fastapi import Depends, FastAPI, Query, Response
from fastapi.responses import HTMLResponse

from sniffer.core.errors import SnifferError
from sniffer_airflow.names import (
    CHANGED_IMAGES,
    CHANGES_PICTURE,
    NOT_KEPT,
    OVERVIEW_PAGE,
    RETRAIN_DAG,
    RUN_COUNTS_PAGE,
    RUN_REPORT_PAGE,
)
from sniffer_airflow.pages.changes import FLIPS_PATTERN, ChangedScore, draw_changes
from sniffer_airflow.pages.contact_sheet import draw_contact_sheet
from sniffer_airflow.pages.message import HEADERS, message
from sniffer_airflow.pages.overview import SOURCE_PATTERN, overview
from sniffer_airflow.pages.report import WHO_SEES_PICTURES, ask_registry, report_of_run, report_of_version
from sniffer_airflow.pages.run_counts import counts_of_run

_MOST_FLIPS_CHARS = 1000

app = FastAPI(
    docs_url=None,
    redoc_url=None,
    openapi_url=None,
    dependencies=[Depends(requires_access_dag("GET", param_dag_id=RETRAIN_DAG))],
)


@app.get("/reports/{version}/", response_class=HTMLResponse)
def report(version: int, user: GetUserDep) -> HTMLResponse:
    """The report as the gate stored it in MySQL; 404 for a version that was never judged, 503 without MySQL."""
    return report_of_version(version, with_pictures=_may_see_pictures(user))


@app.get(f"/{RUN_REPORT_PAGE}", response_class=HTMLResponse)
def run_report(dag_id: str, run_id: str, user: GetUserDep) -> HTMLResponse:
    """The report of the model version that a DAG run is about, for the tab of the run's page."""
    return report_of_run(dag_id, run_id, with_pictures=_may_see_pictures(user))


@app.get(f"/{OVERVIEW_PAGE}", response_class=HTMLResponse)
def overview_page(source: Annotated[str | None, Query(pattern=SOURCE_PATTERN)] = None) -> HTMLResponse:
    """Flags per night, what waits for reviewers, certificates and coverage; with `source` the nights of that one."""
    return overview(datetime.now(UTC), source)


@app.get(f"/{RUN_COUNTS_PAGE}", response_class=HTMLResponse)
def run_counts(dag_id: str, run_id: str, user: GetUserDep) -> HTMLResponse:
    """What the scans of a DAG run have found, or its training was judged by, for the tab of the run's page."""
    if not _may("GET", dag_id, user):
        return message(403, "Not for you", f"You may not see the runs of {dag_id}.")
    return counts_of_run(dag_id, run_id)


@app.get(f"/{CHANGES_PICTURE}")
def changes(
    compared: Annotated[int, Query(ge=0)],
    stable: Annotated[int, Query(ge=0)],
    candidate: Annotated[int, Query(ge=0)],
    flips: Annotated[str, Query(pattern=FLIPS_PATTERN, max_length=_MOST_FLIPS_CHARS)],
) -> Response:
    """The picture of what a rollout changes, of the figures in the address."""
    picture = draw_changes(compared, stable, candidate, ChangedScore.parse_all(flips))
    return Response(picture, media_type="image/svg+xml", headers=HEADERS)


@app.get(f"/{CHANGED_IMAGES}/{{version}}.svg")
def changed_images(version: int, user: GetUserDep) -> Response:
    """Test images that the version decides differently, as the gate kept them in MySQL: pictures of users."""
    if not _may_see_pictures(user):
        return message(403, "Pictures of users", f"These pictures {WHO_SEES_PICTURES}")
    try:
        found = ask_registry(lambda models: models.changed_images(version))
    except SnifferError as error:
        return message(503, "The pictures cannot be read", f"The pictures of version {version} cannot be read: {error}")
    if found is None:
        return message(404, "No pictures", f"Of version {version}: {NOT_KEPT}")
    return Response(draw_contact_sheet(found, version), media_type="image/svg+xml", headers=HEADERS)


def _may_see_pictures(user: GetUserDep) -> bool:
    return _may("POST", RETRAIN_DAG, user)


def _may(method: Literal["GET", "POST"], dag_id: str, user: GetUserDep) -> bool:
    """Whether the user may see, or start, runs of the DAG."""
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    may: bool = get_auth_manager().is_authorized_dag(
        method=method, access_entity=DagAccessEntity.RUN, details=details, user=user
    )
    return may
