from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import MySQLdb
import pytest
from support.scratch_bucket import ScratchBucket

from sniffer.core.errors import SettingsError
from sniffer_local.mariadb import MariaDb, create_database
from sniffer_local.processes import free_port
from sniffer_local.s3 import S3


def test_a_killed_mariadb_keeps_what_was_committed(mariadb: MariaDb, database_url: str) -> None:
    name = database_url.rsplit("/", 1)[1].split("?")[0]
    mariadb.site.execute(f"CREATE TABLE {name}.kept (n INT)", f"INSERT INTO {name}.kept VALUES (7)")
    mariadb.kill()
    assert not mariadb.site.answers()
    mariadb.start()
    assert mariadb.site.rows(f"SELECT n FROM {name}.kept") == [(7,)]


def test_mariadb_takes_nobody_without_the_password(mariadb: MariaDb) -> None:
    for user in ("sniffer", "root", ""):
        with pytest.raises(MySQLdb.OperationalError):
            MySQLdb.connect(host="127.0.0.1", port=mariadb.port, user=user, password="wrong")


def test_the_password_is_in_no_command_line_and_in_private_files(mariadb: MariaDb) -> None:
    assert mariadb.site.password not in Path(f"/proc/{mariadb.pid}/cmdline").read_text()
    holders = [
        f for f in mariadb.site.folder.iterdir() if f.is_file() and mariadb.site.password in f.read_text("latin-1")
    ]
    assert holders
    assert all(f.stat().st_mode & 0o077 == 0 for f in holders)


def test_a_database_name_cannot_smuggle_sql(mariadb: MariaDb) -> None:
    with pytest.raises(SettingsError, match="letters, digits"):
        create_database(mariadb.site, "a`; DROP DATABASE mysql")


def test_buckets_are_fresh_and_objects_come_back(bucket: ScratchBucket) -> None:
    etag = bucket.put("a b/+%.jpg", b"bytes")
    listed = bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]
    assert [(o["Key"], o["ETag"].strip('"')) for o in listed] == [("a b/+%.jpg", etag)]


def test_a_child_can_be_paused_by_pid_and_stops_cleanly(s3: S3) -> None:
    os.kill(s3.pid, signal.SIGSTOP)
    os.kill(s3.pid, signal.SIGCONT)
    s3.restart()
    assert s3.client().list_buckets()["Buckets"] == []


def test_a_free_port_is_none_that_a_client_is_given_meanwhile() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        of_clients = {client.getsockname()[1], server.getsockname()[1]}
        assert max(free_port() for _ in range(100)) < min(of_clients)
    taken = free_port()
    with socket.create_server(("127.0.0.1", taken)):
        assert all(free_port() != taken for _ in range(100))
