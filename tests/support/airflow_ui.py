"""Airflow's own UI on a free port of this process, and a browser that is signed in to it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from sniffer_local.browser import Page, open_browser
from support.airflow_people import api_server, wait_for


@contextmanager
def serve_airflow() -> Iterator[str]:
    """The address of the UI and the API, on the database of this process's Airflow."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(api_server(), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_for(lambda: server.started, "Airflow's UI")
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)


@contextmanager
def signed_in(url: str, name: str, role: str = "USER") -> Iterator[Page]:
    """A browser that shows Airflow's UI to that user of the simple auth manager."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=name, role=role))
    with open_browser() as page:
        page.set_cookie(url, COOKIE_NAME_JWT_TOKEN, token)
        yield page


def click(page: Page, name: str) -> None:
    """The button of that name, which a person sees on it or hears of it, as soon as it is there."""
    buttons = "[...document.querySelectorAll('button, a')]"
    found = f"{buttons}.find(one => [one.innerText.trim(), one.ariaLabel].includes({json.dumps(name)}))"
    page.wait_for(found, 30)
    page.run(f"{found}.click()")
