"""docs/own-airflow.md: its commands make the users that its Connections name, and programs log in as their role."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from airflow.sdk import Connection
from sqlalchemy import make_url
from support.guide import bash_refuses, blocks
from support.imports import CHECKOUT

from sniffer.adapters.mysql.grants import ROLES
from sniffer_airflow.executors.connections import database_url
from sniffer_airflow.names import MYSQL_CONNECTION, MYSQL_CONNECTIONS

GUIDE = CHECKOUT / "docs" / "own-airflow.md"

SHIM = """#!/bin/bash
name=${0##*/}
case $name in
  mysql) cat >> "$HOME/mysql" ;;
  sniffer) echo "$* $SNIFFER_DATABASE_URL" >> "$HOME/sniffer" ;;
  airflow) [ "$1 $2" != "connections import" ] || { stat -c %a "$4" > "$HOME/mode"; cp "$4" "$HOME/connections"; } ;;
esac
"""


@dataclass(frozen=True)
class Done:
    """What the guide's commands have handed to the tools."""

    sql: str
    migrated: str
    connections: dict[str, Connection]
    mode: str
    left: set[str]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    home = tmp_path_factory.mktemp("own-airflow")
    (home / "bin").mkdir()
    for tool in ("mysql", "sniffer", "airflow"):
        (home / "bin" / tool).write_text(SHIM)
        (home / "bin" / tool).chmod(0o755)
    wanted = [block for block in blocks(GUIDE) if "SECRETS" in block]
    subprocess.run(
        ["bash"],
        input="set -euo pipefail; DB=db.example\n" + "\n".join(wanted),
        env={"PATH": f"{home / 'bin'}:{os.environ['PATH']}", "HOME": str(home)},
        cwd=CHECKOUT,
        text=True,
        timeout=60,
        check=True,
    )
    lines = dict(line.split("=", 1) for line in (home / "connections").read_text().splitlines())
    return Done(
        (home / "mysql").read_text(),
        (home / "sniffer").read_text(),
        {name: Connection.from_uri(uri, conn_id=name) for name, uri in lines.items()},
        (home / "mode").read_text().strip(),
        {file.name for file in Path(home, ".sniffer-secrets").iterdir()},
    )


def users(sql: str) -> dict[str, str]:
    return dict(re.findall(r"CREATE USER (\w+) IDENTIFIED BY '([^']+)'", sql))


def test_every_block_is_one_that_bash_reads() -> None:
    assert [said for block in blocks(GUIDE) if (said := bash_refuses(block))] == []


def test_each_program_logs_in_as_the_user_of_its_role(done: Done) -> None:
    assert set(done.connections) == {MYSQL_CONNECTION, *MYSQL_CONNECTIONS.values()}
    roles = {name: name.removeprefix("sniffer_mysql_") for name in MYSQL_CONNECTIONS.values()}
    for name, role in (roles | {MYSQL_CONNECTION: "reader"}).items():
        url = make_url(database_url(done.connections[name]))
        assert (url.host, url.database) == ("db.example", "sniffer")
        assert (url.username, url.password) == (f"sniffer_{role}_user", users(done.sql)[f"sniffer_{role}_user"])


def test_each_user_is_made_and_has_its_role_and_no_two_share_a_password(done: Done) -> None:
    made = users(done.sql)
    assert set(made) == {f"{role.name}_user" for role in ROLES}
    assert len(set(made.values())) == len(made)
    granted = re.findall(r"GRANT (\w+) TO (\w+_user); SET DEFAULT ROLE (\w+) TO (\w+);", done.sql)
    assert granted == [(role.name, f"{role.name}_user") * 2 for role in ROLES if role.name != "sniffer_migrate"]
    assert f"migrate mysql+mysqldb://sniffer_migrate_user:{made['sniffer_migrate_user']}@db.example" in done.migrated


def test_passwords_are_in_files_of_ones_own_and_the_list_does_not_stay(done: Done) -> None:
    assert done.mode == "600"
    assert done.left == {role.name.removeprefix("sniffer_") for role in ROLES}
    for block in blocks(GUIDE):
        assert "--conn-password" not in block


def test_the_table_says_whose_each_connection_is(done: Done) -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", GUIDE.read_text(), re.MULTILINE)
    assert dict(rows) == {name: connection.login for name, connection in done.connections.items()}
