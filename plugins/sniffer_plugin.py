"""What Airflow loads of us at its start: our pages in the API server.

Airflow finds it by the entry point `airflow.plugins` of the distribution, wherever that is installed. So the folder of
plugins need not be set; where it is this one, .airflowignore keeps Airflow from loading the plugin a second time.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

import sniffer_airflow.scan.form  # noqa: F401 - the API server checks the form's fields by the rules that are made there
from sniffer_airflow.names import PAGES_PREFIX


async def pages(scope: Any, receive: Any, send: Any) -> None:
    """Our pages as an ASGI application, loaded by the first request: every task process loads this file."""
    from sniffer_airflow.pages.report import app

    await app(scope, receive, send)


class SnifferPlugin(AirflowPlugin):
    """Our pages, under PAGES_PREFIX."""

    name = "sniffer"
    fastapi_apps = [{"app": pages, "url_prefix": PAGES_PREFIX, "name": "sniffer-bot"}]  # noqa: RUF012 - see its base
