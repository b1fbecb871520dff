"""Airflow on one machine: its home, its four processes as services on the loopback, and a client of its REST API.

The processes are those of `airflow standalone`, started one by one: standalone cannot be told to leave out the two
log servers, which listen on every interface. Logs of running tasks are read from the same disk anyway.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from sniffer.core.errors import TransientError
from sniffer.core.files import write_text
from sniffer.core.retry import Retry, RetryLater
from sniffer.core.text import one_line
from sniffer_local.postgres import PostgresSite
from sniffer_local.processes import Service, run_checked

LOGIN = "admin"
COMPONENTS = {
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag_processor": ("dag-processor",),
    "api_server": ("api-server",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
"""Each process by its name in /api/v2/monitor/health, and its command."""

MIGRATED = "airflow-release"
"""In the database's folder: the release of Airflow that it was brought to, so that both go together."""

START_LIMIT_S = 240.0
REQUEST_TIMEOUT_S = 20.0
HEALTH_TIMEOUT_S = 10.0
PATIENCE_S = 60.0
"""How long an Airflow that is too busy to answer is asked again."""

PATIENCE = {
    # A scheduler that was killed: its tasks are another's after half a minute, not after five.
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "120",
    # An API server that was killed: tasks, which report every five seconds, wait for the next one.
    "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS": "20",
}
"""How long the parts wait for each other, on one small machine where each is started again within seconds."""

ENDED_STATES = ("success", "failed")


@dataclass(frozen=True, slots=True)
class AirflowSite:
    """One Airflow: where its home and its code are, how it is reached, and what its processes get to know."""

    home: Path
    code: Path
    port: int
    password: str = field(repr=False)
    extra_environ: Mapping[str, str] = field(repr=False)
    database: PostgresSite | None = None
    """Its metadata; without one, Airflow's own default, SQLite in its home."""

    @property
    def passwords(self) -> Path:
        """The file of users and passwords."""
        return self.home / "passwords.json"

    @property
    def url(self) -> str:
        """The UI's address, and the REST API's base."""
        return f"http://127.0.0.1:{self.port}"

    def environ(self) -> dict[str, str]:
        """All of Airflow's settings that are not its defaults. Holds secrets."""
        return {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.code / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{LOGIN}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.passwords),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
            "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
            **PATIENCE,
            **(_database_environ(self.database) if self.database else {}),
            **self.extra_environ,
        }


def prepare_site(
    home: Path, code: Path, port: int, extra_environ: Mapping[str, str], database: PostgresSite
) -> AirflowSite:
    """Create the home with a generated password for the user `admin`; idempotent, keeps the password."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = home / "passwords.json"
    if not file.is_file():
        write_text(file, json.dumps({LOGIN: secrets.token_urlsafe(12)}), private=True)
    password: str = json.loads(file.read_text())[LOGIN]
    return AirflowSite(home, code, port, password, extra_environ, database)


def is_migrated(database: PostgresSite) -> bool:
    """Whether the database, which may be down, was brought to the Airflow that is installed."""
    done = database.folder / MIGRATED
    return done.is_file() and done.read_text() == version("apache-airflow")


def migrate_metadata(site: AirflowSite, database: PostgresSite, log: Path) -> bool:
    """Create or upgrade Airflow's own database, and its configuration file with generated keys. Idempotent.

    True if the database was created. The server has to answer.
    """
    if is_migrated(database):
        return False  # it takes ten seconds to find out that nothing is to be done
    is_new = database.create_database()
    run_checked((_program(), "db", "migrate"), log, site.environ())
    (database.folder / MIGRATED).write_text(version("apache-airflow"))
    return is_new


def airflow_services(site: AirflowSite, logs: Path) -> list[Service]:
    """Airflow's processes; each is ready once the API calls it healthy."""
    client = AirflowClient(site)
    return [
        Service(
            f"airflow-{component.replace('_', '-')}",
            (_program(), *command),
            logs / f"airflow-{component.replace('_', '-')}.log",
            lambda component=component: client.is_healthy(component),  # type: ignore[misc]
            site.environ(),
            start_limit_s=START_LIMIT_S,
            code=(site.code / "plugins", site.code / "scripts"),
            address=site.url if component == "api_server" else "",
        )
        for component, command in COMPONENTS.items()
    ]


@dataclass(frozen=True, slots=True)
class AirflowConnection:
    """A Connection as `airflow connections add` would make it."""

    conn_id: str
    conn_type: str
    host: str | None = None
    port: int | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    schema: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict)

    def entity(self) -> dict[str, str | int | None]:
        """As the REST API takes it. Holds the password."""
        return {
            "connection_id": self.conn_id,
            "conn_type": self.conn_type,
            "host": self.host,
            "port": self.port,
            "login": self.login,
            "password": self.password,
            "schema": self.schema,
            "extra": json.dumps(self.extra) if self.extra else None,
        }


class AirflowClient:
    """Airflow's REST API as the demo needs it, logged in as the admin. A refusal or silence is a TransientError."""

    def __init__(self, site: AirflowSite) -> None:
        self._site = site
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy of the user's has no business on the loopback

    def is_healthy(self, component: str) -> bool:
        """Whether that part of Airflow is up; the API server answers for all."""
        try:
            answer = self._session.get(f"{self._site.url}/api/v2/monitor/health", timeout=HEALTH_TIMEOUT_S)
            health = answer.json()
        except (requests.RequestException, ValueError):
            return False
        part = "metadatabase" if component == "api_server" else component
        return bool(health.get(part, {}).get("status") == "healthy")

    def set_connections(self, connections: Sequence[AirflowConnection]) -> None:
        """Create the Connections, or bring them up to date. Idempotent; an error shows no password."""
        self._create("connections", [connection.entity() for connection in connections], "overwrite")

    def set_missing_variables(self, variables: Mapping[str, str]) -> None:
        """Create the Variables that there are not; those that there are keep their values. Idempotent."""
        self._create("variables", [{"key": key, "value": value} for key, value in variables.items()], "skip")

    def variable(self, key: str) -> str:
        """The Variable's value; raises TransientError when there is none of that name."""
        return str(self._call("GET", f"/variables/{quote(key)}")["value"])

    def wait_for_dag(self, dag_id: str, limit_s: float = 60.0) -> None:
        """Return once the DAG can be triggered; raises TransientError with the import errors when it stays away."""
        deadline = time.monotonic() + limit_s
        while not self._knows(dag_id):
            if time.monotonic() > deadline:
                errors = [e["stack_trace"] for e in self._call("GET", "/importErrors")["import_errors"]]
                raise TransientError(f"Airflow does not show the DAG {dag_id}.\n" + "\n".join(errors))
            time.sleep(1)

    def unpause(self, dag_id: str) -> None:
        """Let the DAG's runs start. Idempotent."""
        self._call("PATCH", f"/dags/{quote(dag_id)}", {"is_paused": False})

    def trigger(self, dag_id: str, conf: Mapping[str, Any]) -> str:
        """Start a run outside the schedule, and return its id."""
        run = self._call("POST", f"/dags/{quote(dag_id)}/dagRuns", {"logical_date": None, "conf": dict(conf)})
        return str(run["dag_run_id"])

    def run_ids(self, dag_id: str) -> set[str]:
        """The ids of the DAG's newest runs, 100 at most."""
        found = self._call("GET", f"/dags/{quote(dag_id)}/dagRuns?order_by=-run_after&limit=100")["dag_runs"]
        return {run["dag_run_id"] for run in found}

    def run_state(self, dag_id: str, run_id: str) -> str:
        """The run's state: queued, running, success or failed."""
        return str(self._call("GET", _run_path(dag_id, run_id))["state"])

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str]:
        """Every task of the run with its state; `none` before it is scheduled."""
        found = self._call("GET", f"{_run_path(dag_id, run_id)}/taskInstances")["task_instances"]
        return {ti["task_id"]: ti["state"] or "none" for ti in sorted(found, key=lambda ti: ti["start_date"] or "~")}

    def task_progress(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, Any]:
        """What the running task shows under `progress` in its state store; empty until it shows something."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{quote(task_id)}/state-store?map_index={map_index}"
        entries = self._call("GET", path)["task_state_store"]
        return next((entry["value"] for entry in entries if entry["key"] == "progress"), {})

    def task_result(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """What the task returned."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{quote(task_id)}/xcomEntries/return_value"
        return self._call("GET", path)["value"]

    def task_log(self, dag_id: str, run_id: str, task_id: str) -> list[str]:
        """The messages of the task's last try, one per line; of a mapped task those of an instance that failed."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances"
        tasks = [ti for ti in self._call("GET", path)["task_instances"] if ti["task_id"] == task_id]
        task = max(tasks, key=lambda ti: ti["state"] == "failed")
        number, index = max(task["try_number"], 1), task["map_index"]
        where = f"{path}/{quote(task_id)}/logs/{number}?full_content=true&map_index={index}"
        content = self._call("GET", where)["content"]
        return [line for entry in content for line in _message(entry).splitlines()]

    def _create(self, kind: str, entities: Sequence[Mapping[str, Any]], on_existence: str) -> None:
        action = {"action": "create", "entities": entities, "action_on_existence": on_existence}
        answer = self._answer("PATCH", f"/{kind}", {"actions": [action]})
        # What Airflow says of a refusal may repeat what was sent, passwords included.
        if not answer.ok or answer.json()["create"]["errors"]:
            raise TransientError(
                f"Airflow refused to create its {kind}: {answer.status_code}; see its api-server's log"
            )

    def _knows(self, dag_id: str) -> bool:
        return self._answer("GET", f"/dags/{quote(dag_id)}").status_code == 200

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        answer = self._answer(method, path, body)
        if not answer.ok:
            raise TransientError(f"Airflow refused {method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json()

    def _answer(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> requests.Response:
        if "Authorization" not in self._session.headers:
            self._log_in()
        answer = self._send(method, f"/api/v2{path}", body)
        if answer.status_code == 401:  # the token has expired, or Airflow was restarted
            self._log_in()
            answer = self._send(method, f"/api/v2{path}", body)
        return answer

    def _log_in(self) -> None:
        answer = self._send("POST", "/auth/token", {"username": LOGIN, "password": self._site.password})
        if answer.status_code != 201:
            raise TransientError(f"Airflow refused the login of {LOGIN}: {answer.status_code} {answer.text[:200]}")
        self._session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> requests.Response:
        # A run that was asked for twice would run twice; everything else can be asked again on a busy machine.
        patience_s = 0.0 if method == "POST" else PATIENCE_S
        retry = Retry(f"Airflow at {self._site.url}", "see its api-server's log, then run again", patience_s)

        def attempt() -> requests.Response:
            try:
                return self._session.request(
                    method,
                    self._site.url + path,
                    json=body,
                    headers={"Accept": "application/json"},
                    timeout=REQUEST_TIMEOUT_S,
                )
            except requests.RequestException as error:
                raise RetryLater(one_line(error)) from error

        return retry.call(attempt)


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"


def _message(entry: Any) -> str:
    """One entry of a task's log as text: a message as `event`, and the exceptions that go with it."""
    if not isinstance(entry, dict):
        return str(entry)
    errors = [f"{error['exc_type']}: {error['exc_value']}" for error in entry.get("error_detail") or ()]
    return "\n".join([str(entry.get("event", "")), *errors])


def _database_environ(database: PostgresSite) -> dict[str, str]:
    # Airflow derives the second from the first only where the first names no driver.
    return {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database.url("psycopg2"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": database.url("asyncpg"),
    }


def _program() -> str:
    return str(Path(sys.executable).with_name("airflow"))
