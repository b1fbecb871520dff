"""The page that shows the report of a model version, to those who may see the DAG `retrain_model`."""

from __future__ import annotations

import os
from html import escape

from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import SnifferError
from sniffer.core.settings import database_settings
from sniffer_airflow.executors.connections import fetch, program_environ
from sniffer_airflow.names import RETRAIN_DAG

_HEADERS = {
    # The report loads nothing; should an image's name ever smuggle a script into it, it would not run.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-cache",
}

app = FastAPI(
    docs_url=None,
    redoc_url=None,
    openapi_url=None,
    dependencies=[Depends(requires_access_dag("GET", param_dag_id=RETRAIN_DAG))],
)


@app.get("/reports/{version}/", response_class=HTMLResponse)
def report(version: int) -> HTMLResponse:
    """The report as the gate stored it in MySQL; 404 for a version that was never judged, 503 without MySQL."""
    try:
        environ = program_environ(os.environ, fetch(aws=False, serving=False))
        # A page is not worth minutes of patience.
        with Database(database_settings({**environ, "SNIFFER_DATABASE_PATIENCE_S": "0"})) as database:
            page = database.models.report(version)
    except SnifferError as error:
        return _message(503, f"The report of version {version} cannot be read: {error}")
    if page is None:
        return _message(404, f"There is no report of version {version}: the task gate stores it.")
    return HTMLResponse(page, headers=_HEADERS)


def _message(status: int, text: str) -> HTMLResponse:
    return HTMLResponse(f"<!doctype html><title>No report</title><p>{escape(text)}", status, headers=_HEADERS)
