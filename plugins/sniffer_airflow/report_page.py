"""The page that shows the report of a training run, to those who may see the DAG `retrain_model`."""

from __future__ import annotations

import re
from pathlib import Path

from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.sdk import Variable
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse

from sniffer_airflow.names import RETRAIN_DAG, TRAINING_DIR_VARIABLE, workdir_of

_RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]*")
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


@app.get("/reports/{run_name}/", response_class=HTMLResponse)
def report(run_name: str) -> HTMLResponse:
    """report.html of that run's workdir; 404 with what to look for where there is none."""
    training_dir = str(Variable.get(TRAINING_DIR_VARIABLE, default=""))
    if training_dir and _RUN_NAME.fullmatch(run_name):
        path = Path(workdir_of(training_dir, run_name), "report.html")
        if path.is_file():
            return HTMLResponse(path.read_text(encoding="utf-8"), headers=_HEADERS)
    text = (
        "There is no report of this run here: the task <code>evaluate</code> writes it at its end. If it has ended, "
        f"see that the API server mounts the folder of the Variable <code>{TRAINING_DIR_VARIABLE}</code>."
    )
    return HTMLResponse(f"<!doctype html><title>No report</title><p>{text}</p>", status_code=404, headers=_HEADERS)
