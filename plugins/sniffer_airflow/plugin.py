"""What Airflow loads of us at its start: our pages, the rules of our forms' fields, schedule, deadline, pools."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

import sniffer_airflow.scan.form  # noqa: F401 - the API server checks the form's fields by the rules that it makes
from sniffer_airflow import pools
from sniffer_airflow.alerts.callbacks import ScheduledRunDue
from sniffer_airflow.executors import sweeper
from sniffer_airflow.names import OVERVIEW_PAGE, PAGES_PREFIX, RUN_COUNTS_PAGE, RUN_REPORT_PAGE, page_path
from sniffer_airflow.scan.timetable import NightsAndBackfills


async def pages(scope: Any, receive: Any, send: Any) -> None:
    """Our pages as an ASGI application, loaded by the first request: every task process loads this file."""
    from sniffer_airflow.pages.app import app

    await app(scope, receive, send)


class SnifferPlugin(AirflowPlugin):
    """Our pages, under PAGES_PREFIX, one in the menu and two as tabs of a run's page, schedule, pools and sweeper."""

    name = "sniffer"
    timetables = [NightsAndBackfills]  # noqa: RUF012 - see its base
    deadline_references = [ScheduledRunDue]  # noqa: RUF012 - see its base
    listeners = [pools, sweeper]  # noqa: RUF012 - see its base
    fastapi_apps = [{"app": pages, "url_prefix": PAGES_PREFIX, "name": "sniffer-bot"}]  # noqa: RUF012 - see its base
    external_views = [  # noqa: RUF012 - see its base
        {
            "name": "Flags and review",
            "href": page_path(OVERVIEW_PAGE),
            "destination": "nav",
            "url_route": "flags-and-review",
            "nav_top_level": True,
        },
        {
            "name": "Counts",
            "href": f"{page_path(RUN_COUNTS_PAGE)}?dag_id={{DAG_ID}}&run_id={{RUN_ID}}",
            "destination": "dag_run",
            "url_route": "counts",
        },
        {
            "name": "Model report",
            "href": f"{page_path(RUN_REPORT_PAGE)}?dag_id={{DAG_ID}}&run_id={{RUN_ID}}",
            "destination": "dag_run",
            "url_route": "model-report",
        },
    ]
