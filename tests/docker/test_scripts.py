"""The scripts that images and compose bring along, run for real."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import create_engine, make_url, text
from support.http_server import HttpAnswer, HttpRequest, HttpServer
from support.imports import CHECKOUT
from support.load_script import load_script
from support.programs import eventually

DOCKER = CHECKOUT / "docker"


@dataclass(frozen=True)
class Preparation:
    """prepare.py, which also runs without being root here: owners are noted, not given."""

    main: Callable[[list[str]], int]
    owners: dict[str, int]

    def start(self, folder: Path) -> None:
        """Prepare an installation that keeps everything in that folder."""
        assert self.main([f"--secrets={folder / 'secrets'}", f"--data={folder / 'data'}"]) == 0


class Prepared(NamedTuple):
    """The folders after a first start, and what it printed."""

    folder: Path
    printed: str


@pytest.fixture
def prepare(monkeypatch: pytest.MonkeyPatch) -> Preparation:
    owners: dict[str, int] = {}
    monkeypatch.setattr(os, "chown", lambda path, user, _group: owners.update({str(path): user}))
    return Preparation(load_script(DOCKER / "prepare.py").main, owners)


def contents(folder: Path) -> dict[str, str]:
    """Every file below the folder: relative name → text."""
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def prepared(prepare: Preparation, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Prepared:
    prepare.start(tmp_path)
    return Prepared(tmp_path, capsys.readouterr().out)


def test_a_second_start_changes_no_secret(prepare: Preparation, prepared: Prepared) -> None:
    folder, _ = prepared
    before = contents(folder)
    prepare.start(folder)
    assert contents(folder) == before


def test_another_installation_has_other_secrets(
    prepare: Preparation, prepared: Prepared, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    prepare.start(other)
    first, second = contents(prepared[0] / "secrets" / "master"), contents(other / "secrets" / "master")
    assert first.keys() == second.keys() and len(first) == 11
    assert not set(first.values()) & set(second.values())


def test_a_half_done_first_start_is_completed(prepare: Preparation, prepared: Prepared) -> None:
    folder, _ = prepared
    before = contents(folder)
    for name in (
        "secrets/airflow/AIRFLOW_CONN_MYSQL_DEFAULT",
        "secrets/mysql/users.sql",
        "data/airflow/passwords.json",
    ):
        (folder / name).unlink()
    (folder / "secrets" / "airflow" / ".AIRFLOW__CORE__FERNET_KEY.part").write_text("half")
    prepare.start(folder)
    assert contents(folder) == before


def test_data_without_their_secrets_are_not_given_other_ones(
    prepare: Preparation, prepared: Prepared, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody removed some of the volumes: MySQL would know none of the new passwords."""
    folder, _ = prepared
    shutil.rmtree(folder / "secrets")
    data = contents(folder / "data")
    for made in (False, True):  # as Docker makes an empty volume
        (folder / "secrets" / "master").mkdir(parents=True) if made else None
        assert prepare.main([f"--secrets={folder / 'secrets'}", f"--data={folder / 'data'}"]) == 2
        assert "the volume secrets-master is empty" in capsys.readouterr().err
    assert contents(folder / "data") == data
    assert contents(folder / "secrets") == {}


def test_only_the_consumer_can_read_its_secrets_and_none_is_printed(prepare: Preparation, prepared: Prepared) -> None:
    folder, printed = prepared
    files = [file for file in (folder / "secrets").rglob("*") if file.is_file()]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o400}
    assert {stat.S_IMODE(each.stat().st_mode) for each in (folder / "secrets").iterdir()} == {0o700}
    owners = {name: prepare.owners[str(folder / "secrets" / name)] for name in os.listdir(folder / "secrets")}
    assert owners == {"master": 0, "mysql": 999, "s3": 10001, "programs": 10001, "review": 10001, "airflow": 10001}
    for secret in contents(folder / "secrets" / "master").values():
        assert len(secret) >= 16 and secret not in printed


def test_each_consumer_gets_what_fits_the_others(prepared: Prepared) -> None:
    folder, _ = prepared
    secrets = {name: contents(folder / "secrets" / name) for name in ("mysql", "s3", "programs", "airflow")}
    users = dict(re.findall(r"CREATE USER '(\w+)'@'%' IDENTIFIED BY '([^']+)'", secrets["mysql"]["users.sql"]))
    metadata = make_url(secrets["airflow"]["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    ours = make_url(secrets["programs"]["SNIFFER_DATABASE_URL"])
    assert users == {"airflow": metadata.password, "sniffer": ours.password}
    assert (metadata.username, metadata.database) == ("airflow", "airflow")
    assert (ours.username, ours.database) == ("sniffer", "sniffer")
    mysql = json.loads(secrets["airflow"]["AIRFLOW_CONN_MYSQL_DEFAULT"])
    assert (mysql["password"], mysql["schema"]) == (ours.password, "sniffer")
    [identity] = json.loads(secrets["s3"]["identities.json"])["identities"]
    aws = json.loads(secrets["airflow"]["AIRFLOW_CONN_AWS_DEFAULT"])
    keys = secrets["programs"]["AWS_ACCESS_KEY_ID"], secrets["programs"]["AWS_SECRET_ACCESS_KEY"]
    assert identity["credentials"] == [{"accessKey": keys[0], "secretKey": keys[1]}]
    assert (aws["login"], aws["password"]) == keys
    review = contents(folder / "secrets" / "review")
    assert review.items() > secrets["programs"].items()
    assert len({*review.values()}) == len(review) == len(secrets["programs"]) + 2


def test_airflows_keys_are_as_it_wants_them(prepared: Prepared) -> None:
    airflow = contents(prepared[0] / "secrets" / "airflow")
    Fernet(airflow["AIRFLOW__CORE__FERNET_KEY"])
    assert len(airflow["AIRFLOW__API_AUTH__JWT_SECRET"]) >= 64
    passwords = prepared[0] / "data" / "airflow" / "passwords.json"
    assert json.loads(passwords.read_text()).keys() == {"admin"}
    assert os.access(passwords, os.W_OK)  # its login manager opens the file for writing


def test_the_model_server_finds_a_configuration_that_a_later_start_keeps(
    prepare: Preparation, prepared: Prepared
) -> None:
    config = prepared[0] / "data" / "serving" / "models.config"
    assert config.read_text() == "model_config_list {}\n"
    config.write_text("what a rollout wrote")
    prepare.start(prepared[0])
    assert config.read_text() == "what a rollout wrote"


def with_secrets(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [DOCKER / "with-secrets", *arguments], capture_output=True, text=True, timeout=20, check=False
    )


def test_with_secrets_gives_each_file_as_a_variable_and_its_exit_status(tmp_path: Path) -> None:
    awkward = 'a b"c\'d$e`f\\g {"h": 1}'
    (tmp_path / "FIRST").write_text(awkward)
    (tmp_path / "SECOND").write_text("2")
    program = "import os, sys; print(os.environ['FIRST']); sys.exit(int(os.environ['SECOND']))"
    done = with_secrets(tmp_path, sys.executable, "-c", program)
    assert (done.stdout, done.returncode) == (f"{awkward}\n", 2)


@pytest.mark.parametrize("arguments", [(), ("/nowhere", "true"), ("/tmp",)])
def test_with_secrets_refuses_what_cannot_be_meant(arguments: tuple[str, ...]) -> None:
    done = with_secrets(*arguments)
    assert done.returncode == 2 and "usage: with-secrets FOLDER" in done.stderr


def health(what: str, **environ: str) -> tuple[int, str]:
    """Exit status and line of airflow-health."""
    command = [sys.executable, str(DOCKER / "airflow-health"), what]
    done = subprocess.run(
        command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=20, check=False
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(("status", "expected"), [("healthy", 0), ("unhealthy", 1)])
def test_airflow_health_asks_an_api_for_its_database(status: str, expected: int) -> None:
    class HealthServer(HttpServer):
        def respond(self, request: HttpRequest) -> HttpAnswer:
            return HttpAnswer(200, json.dumps({"metadatabase": {"status": status}}).encode())

    with HealthServer() as server:
        assert health(f"{server.url}/health")[0] == expected


def test_airflow_health_goes_by_the_heartbeat_of_this_containers_own_job(database_url: str) -> None:
    environ = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"{database_url}?charset=utf8mb4"}
    assert health("SchedulerJob", **environ)[0] == 1
    engine = create_engine(database_url)
    columns = "job_type VARCHAR(30), hostname VARCHAR(500), state VARCHAR(20), latest_heartbeat DATETIME(6)"
    row = text("INSERT INTO job VALUES (:type, :host, :state, UTC_TIMESTAMP() - INTERVAL :age SECOND)")
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE job ({columns})"))
        jobs = [("SchedulerJob", "another", "running", 0), ("SchedulerJob", socket.gethostname(), "success", 0)]
        jobs += [("TriggererJob", socket.gethostname(), "running", age) for age in (500, 3)]
        jobs += [("DagProcessorJob", socket.gethostname(), "running", 500)]
        for job_type, host, state, age in jobs:
            connection.execute(row, {"type": job_type, "host": host, "state": state, "age": age})
    engine.dispose()
    assert health("SchedulerJob", **environ) == (1, "no SchedulerJob runs here\n")
    assert health("TriggererJob", **environ) == (0, "TriggererJob is well\n")
    status, line = health("DagProcessorJob", **environ)
    assert status == 1 and line.startswith("the last heartbeat of DagProcessorJob is 50")


def test_airflow_health_without_a_database_says_so() -> None:
    environ = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "mysql+mysqldb://u:sesame@127.0.0.1:1/airflow"}
    status, line = health("SchedulerJob", **environ)
    assert status == 1 and "OperationalError" in line and "sesame" not in line


def test_a_machine_that_is_too_small_is_refused_in_words(
    prepare: Preparation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [f"--secrets={tmp_path / 'secrets'}", f"--data={tmp_path / 'data'}"]
    (tmp_path / "data").mkdir()
    for flag, way_out in (("--memory-gb=1000000", "docker/small.yaml"), ("--disk-gb=1000000", "SNIFFER_DISK_GB=0")):
        assert prepare.main([*flags, flag]) == 2
        assert way_out in capsys.readouterr().err
    assert not (tmp_path / "secrets").exists()
    prepare.start(tmp_path)
    # What runs already is not kept from starting again by what it has written.
    assert prepare.main([*flags, "--disk-gb=1000000"]) == 0


def test_clean_logs_removes_old_logs_and_nothing_else(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    old, new, other = logs / "dag" / "run" / "attempt=1.log", logs / "dag" / "other.log", logs / "notes.txt"
    for file in (old, new, other):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("line")
    long_ago = time.time() - 20 * 86_400
    for file in (old, other):
        os.utime(file, (long_ago, long_ago))
    environ = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__LOG_RETENTION_DAYS": "7"}
    with subprocess.Popen([DOCKER / "clean-logs"], env=environ) as process:
        try:
            eventually(lambda: not old.parent.exists(), "the old log and its folder are gone")
        finally:
            process.terminate()
        assert process.wait(timeout=10) == 0
    assert new.exists() and other.exists()


def test_clean_logs_refuses_what_is_no_number(tmp_path: Path) -> None:
    environ = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__LOG_RETENTION_DAYS": "a week"}
    done = subprocess.run([DOCKER / "clean-logs"], env=environ, capture_output=True, timeout=10, check=False)
    assert done.returncode == 2 and b"whole numbers" in done.stderr


def test_scripts_that_images_start_can_be_started() -> None:
    for name in (
        "with-secrets",
        "entrypoint",
        "clean-logs",
        "airflow-health",
        "airflow-init",
        "build-wheels",
        "install-wheels",
    ):
        assert os.access(DOCKER / name, os.X_OK), name
