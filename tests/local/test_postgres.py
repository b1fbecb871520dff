"""The private PostgreSQL under the demo's Airflow: who may connect, as whom it runs, what it survives."""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest

from sniffer.core.errors import SettingsError
from sniffer_local import postgres
from sniffer_local.postgres import DATABASE, ROLE, PostgresSite, postgres_service, prepare_site
from sniffer_local.processes import Child

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Below pytest's folder, which only its owner can enter."""
    return tmp_path_factory.mktemp("stack") / "postgres"


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Child]:
    # Debian's user can enter neither pytest's folders nor what they hold.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as outside, pytest.MonkeyPatch.context() as patch:
        Path(outside).chmod(0o755)
        patch.setattr(postgres, "OUTSIDE", Path(outside) / "sniffer-bot")
        site = prepare_site(folder)
        server = Child(postgres_service(site, folder.parent / "postgres.log"))
        server.start()
        yield server
        server.stop()


@pytest.fixture
def site(server: Child, folder: Path) -> PostgresSite:
    return prepare_site(folder)


def connect(site: PostgresSite, database: str = "postgres") -> psycopg2.extensions.connection:
    return psycopg2.connect(host=str(site.socket_folder), user=ROLE, dbname=database)


def test_it_never_runs_as_root(server: Child) -> None:
    uid = os.stat(f"/proc/{server.pid}").st_uid
    assert uid != 0
    assert pwd.getpwuid(uid).pw_name in (postgres.SERVER_USER, pwd.getpwuid(os.geteuid()).pw_name)


def test_it_listens_on_no_port(server: Child) -> None:
    sockets = subprocess.run(("ss", "-Hltnp"), capture_output=True, text=True, check=True).stdout
    assert f"pid={server.pid}," not in sockets


@as_root
@pytest.mark.parametrize("role", [ROLE, "postgres"])
def test_no_other_user_gets_in_even_past_the_folder(site: PostgresSite, role: str) -> None:
    site.socket_folder.chmod(0o755)
    psql = ("psql", f"--host={site.socket_folder}", f"--username={role}", "--dbname=postgres", "--command=SELECT 1")
    done = subprocess.run(
        psql, check=False, user="nobody", group="nogroup", extra_groups=[], cwd="/", capture_output=True, text=True
    )
    site.socket_folder.chmod(0o700)
    assert done.returncode != 0
    assert f'Peer authentication failed for user "{role}"' in done.stderr


def test_the_database_is_made_once(site: PostgresSite) -> None:
    assert site.create_database()
    assert not site.create_database()
    connect(site, DATABASE).close()


def test_a_killed_server_keeps_what_it_had(server: Child, site: PostgresSite) -> None:
    with connect(site) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept AS SELECT 7 AS n")
    connection.close()
    connection = connect(site)  # a client that stays keeps no server from stopping, or from coming back
    server.stop()
    server.start()
    server.kill()
    server.start()
    with connect(site) as again, again.cursor() as cursor:
        cursor.execute("SELECT n FROM kept")
        assert cursor.fetchall() == [(7,)]
    connection.close()
    again.close()


def test_it_starts_again_at_once_whatever_a_killed_one_has_left(server: Child, site: PostgresSite) -> None:
    """Processes that are busy, or frozen, hold the memory over which no other server starts."""
    left = psutil.Process(server.pid).children()
    left[0].suspend()
    server.kill()
    server.start()
    assert [process.pid for process in psutil.wait_procs(left, 5)[1]] == []
    assert site.answers()


@pytest.fixture
def stranger(site: PostgresSite) -> Iterator[int]:
    """A process of the server's user that is no server."""
    user = site.user
    process = subprocess.Popen(("sleep", "600"), user=user, group=user, extra_groups=[] if user else None, cwd="/")
    yield process.pid
    process.kill()
    process.wait()


@pytest.mark.parametrize("text", ["{stranger}\n", ""])
def test_it_starts_over_locks_that_name_a_stranger_or_nobody(
    server: Child, site: PostgresSite, stranger: int, text: str
) -> None:
    """After a machine's restart numbers are given out anew; a machine that lost power may leave empty files."""
    server.kill()
    postgres.clear_way(site)
    locks = [site.folder / "data" / "postmaster.pid", site.socket_folder / f"{postgres.SOCKET_FILE}.lock"]
    for lock in locks:
        lock.write_text(text.format(stranger=stranger))
        os.chown(lock, site.folder.joinpath("data").stat().st_uid, -1)
    server.start()
    assert psutil.pid_exists(stranger)
    assert [int(lock.read_text().partition("\n")[0]) for lock in locks] == [server.pid] * 2


def test_a_server_that_nobody_remembers_makes_way_in_order(server: Child, site: PostgresSite) -> None:
    log = server.service.log
    before = log.read_text().count("database system is shut down")
    postgres.clear_way(site)
    assert log.read_text().count("database system is shut down") == before + 1
    server.kill()
    server.start()


def test_one_that_ends_by_itself_meanwhile_is_no_error(
    server: Child, site: PostgresSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    with subprocess.Popen(("sleep", "600")) as ended:
        process = psutil.Process(ended.pid)
        ended.kill()
    server.stop()
    (site.folder / "data" / "postmaster.pid").write_text(f"{process.pid}\n")
    monkeypatch.setattr(postgres, "_processes_of", lambda _: [process])
    postgres.clear_way(site)
    server.start()


def test_a_person_who_works_in_its_folder_is_left_alone(server: Child, site: PostgresSite) -> None:
    server.stop()
    with subprocess.Popen(("sleep", "600"), cwd=site.folder / "data") as person:
        server.start()
        assert person.poll() is None
        person.kill()


def test_data_of_a_version_that_is_not_installed_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(SettingsError, match="written by PostgreSQL 9, and installed is .*: install postgresql-9, or"):
        postgres._programs(tmp_path / "data")


def test_without_postgresql_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "DEBIAN_PROGRAMS", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match="apt-get install postgresql"):
        postgres._programs(tmp_path / "data")


def test_a_long_path_still_gives_a_socket(tmp_path: Path) -> None:
    site = PostgresSite(tmp_path / ("x" * 100), Path("/"), None)
    assert len(str(site.socket_folder / postgres.SOCKET_FILE)) < 108
    assert site.url("asyncpg").endswith(f"?host={site.socket_folder}")
