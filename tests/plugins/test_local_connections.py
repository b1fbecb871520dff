"""The demo sets Connections and Variables where its docs say that they are set: in Airflow itself, by its REST API."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from airflow.api_fastapi.app import create_app, get_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

from sniffer.core.errors import TransientError
from sniffer_local.airflow import AirflowClient, AirflowConnection, AirflowSite
from sniffer_local.processes import free_port

MYSQL = AirflowConnection(
    "demo_mysql", "mysql", "127.0.0.1", 3306, "u", "p@ss/word-1", "sniffer", {"charset": "utf8mb4"}
)


@pytest.fixture(scope="module")
def client(airflow_database: None) -> Iterator[AirflowClient]:
    """A client of a real API server, signed in."""
    port = free_port()
    app = create_app("core")
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
        assert thread.is_alive()
    client = AirflowClient(AirflowSite(Path("unused"), Path("unused"), port, "unused", {}))
    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="admin", role="ADMIN"))
    client._session.headers["Authorization"] = f"Bearer {token}"
    yield client
    server.should_exit = True
    thread.join(30)


def connection(conn_id: str) -> Any:
    from airflow.models import Connection
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        return session.scalars(select(Connection).where(Connection.conn_id == conn_id)).one()


def variable(key: str) -> str:
    from airflow.models import Variable

    return str(Variable.get(key))


def test_connections_are_created_once_and_brought_up_to_date(client: AirflowClient) -> None:
    serving = AirflowConnection("demo_serving", "http", "127.0.0.1", 8501)
    client.set_connections([MYSQL, serving])
    client.set_connections([MYSQL, AirflowConnection("demo_serving", "http", "127.0.0.1", 9000)])
    mysql = connection("demo_mysql")
    assert (mysql.host, mysql.port, mysql.login, mysql.schema) == ("127.0.0.1", 3306, "u", "sniffer")
    assert (mysql.password, mysql.extra_dejson) == ("p@ss/word-1", {"charset": "utf8mb4"})
    assert connection("demo_serving").port == 9000


def test_a_variable_that_somebody_changed_keeps_its_value(client: AirflowClient) -> None:
    from airflow.models import Variable

    client.set_missing_variables({"demo_bucket": "sniffer-demo", "demo_json": '{"source": "/images"}'})
    Variable.set("demo_bucket", "my-own")
    client.set_missing_variables({"demo_bucket": "sniffer-demo"})
    assert variable("demo_bucket") == "my-own"
    assert variable("demo_json") == '{"source": "/images"}'


def test_a_refusal_shows_no_password(client: AirflowClient) -> None:
    wrong = AirflowConnection("not a valid id!", "mysql", password="p@ss/word-1")
    with pytest.raises(TransientError, match="refused to create its connections") as refused:
        client.set_connections([wrong])
    assert "p@ss" not in str(refused.value)
    assert "p@ss" not in repr(wrong)
