"""drive.py URL PASSWORDS: lets Airflow train, export and roll out a model, and scan; 0 when every run succeeds.

For run-with-standins, with Python's own library alone.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from typing import Any
from urllib.parse import quote

LIMIT_S = 1800.0
POLL_S = 5.0
OVERRIDE = {"override_reason": "shows the way, goes to no production"}


class Airflow:
    """As much of the REST API as this needs."""

    def __init__(self, url: str, password: str) -> None:
        self._url = url
        self._token = ""
        self._token = self.call("POST", "/auth/token", {"username": "admin", "password": password})["access_token"]

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON; HTTPError for a refusal."""
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def newest(self, dag: str) -> dict[str, Any] | None:
        """The DAG's newest run."""
        runs = self.call("GET", f"/api/v2/dags/{dag}/dagRuns?order_by=-run_after&limit=1")["dag_runs"]
        return runs[0] if runs else None

    def tasks(self, dag: str, run: str) -> dict[str, str]:
        """The state of each task."""
        path = f"/api/v2/dags/{dag}/dagRuns/{quote(run, safe='')}/taskInstances"
        return {each["task_id"]: each["state"] for each in self.call("GET", path)["task_instances"]}


def await_run(airflow: Airflow, dag: str, deadline: float) -> str:
    """Follow the DAG's newest run, once there is one, to its end; returns its state, `nothing` when time is over."""
    shown = ""
    while time.monotonic() < deadline:
        run = airflow.newest(dag)
        if run is not None:
            state = f"{dag} {run['state']} {airflow.tasks(dag, run['dag_run_id'])}"
            if state != shown:
                print(state, flush=True)
            shown = state
            if run["state"] in ("success", "failed"):
                return str(run["state"])
        time.sleep(POLL_S)
    return "nothing"


def main() -> int:
    """Run the program."""
    url, passwords = sys.argv[1:]
    airflow = Airflow(url, json.loads(passwords)["admin"])
    deadline = time.monotonic() + LIMIT_S
    print(
        json.dumps({part: each.get("status") for part, each in airflow.call("GET", "/api/v2/monitor/health").items()})
    )
    for dag, conf in (
        ("retrain_model", OVERRIDE),
        ("export_model", None),
        ("rollout_serving", None),
        ("scan_bucket", {}),
    ):
        if conf is not None:
            airflow.call("PATCH", f"/api/v2/dags/{dag}", {"is_paused": False})
            airflow.call("POST", f"/api/v2/dags/{dag}/dagRuns", {"logical_date": None, "conf": conf})
        if await_run(airflow, dag, deadline) != "success":
            print(f"{dag} did not succeed", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
