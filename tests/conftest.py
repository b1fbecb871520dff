"""Shared fixtures: a real MariaDB (or MySQL) and a real S3 per session, an empty database and bucket per test."""

from __future__ import annotations

import functools
import gc
import hashlib
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import pytest
from support.database_servers import DatabaseServer
from support.flaky_s3 import FlakyS3
from support.migrated_databases import is_migrated, migrated_database
from support.migrated_tables import make_migrated_tables
from support.sampling import mark_left_out
from support.schedule import ByFolder, rank
from support.scratch_bucket import ScratchBucket

from sniffer.adapters.mysql.database import Database
from sniffer.core.redaction import KNOWN
from sniffer.core.settings import DatabaseSettings
from sniffer_local.mariadb import MariaDb, create_database, drop_database
from sniffer_local.mysql import SCRIPT, MySql, mysql_folder
from sniffer_local.s3 import S3, aws_environ

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_report_header() -> str:
    """Say whether the tests of both servers have both."""
    return f"MySQL: {mysql_folder(REPOSITORY) or f'none, so MariaDB alone ({SCRIPT} makes one)'}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with the mark `both_servers` on MariaDB, and on MySQL, too, where that is there."""
    if "database_server" in metafunc.fixturenames and metafunc.definition.get_closest_marker("both_servers"):
        on_mysql = [pytest.param("mysql", marks=pytest.mark.slow)] if mysql_folder(REPOSITORY) else []
        metafunc.parametrize("database_server", ["mariadb", *on_mysql], indirect=True)


@pytest.hookimpl(tryfirst=True)  # before those that are not asked for are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest first, and leave some cases of many to `make test-all`."""
    mark_left_out(items)
    items.sort(key=lambda item: rank(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFolder | None:
    """With --dist loadfile, spread the tests over the workers by folder, in their order."""
    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    return ByFolder(config, log)


def pytest_sessionstart() -> None:
    """Collect no garbage while tests are collected, and let boto3's clients share what it reads of its own files."""
    gc.disable()
    botocore.session.create_loader = functools.cache(botocore.session.create_loader)


def pytest_collection_finish() -> None:
    """From now on collect it among what tests make."""
    _freeze()
    gc.enable()


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Count what a file has imported among what stays."""
    if nextitem is None or nextitem.path != item.path:
        _freeze()


def _freeze() -> None:
    # What stays (TensorFlow, Airflow, thousands of tests) is millions of objects, and a client of boto3 makes enough
    # of them for the collector to look at all the others again: half of the CPU of a whole run.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """SIGINT as at a terminal: a shell makes what it runs in the background deaf to it, and programs inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def known_secrets() -> None:
    """Each test begins like a process: what an earlier one gave out for a secret is a word like any other."""
    KNOWN.__init__()  # type: ignore[misc]


@pytest.fixture(scope="session")
def mariadb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    """The session's MariaDB. Ask for `mariadb`, which sees to it that it runs."""
    server = MariaDb(tmp_path_factory.mktemp("mariadb"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def mariadb(mariadb_server: MariaDb) -> MariaDb:
    """The session's MariaDB, running at the test's start whatever an earlier test did to it."""
    mariadb_server.start()
    return mariadb_server


@pytest.fixture(scope="session")
def mysql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MySql]:
    """The session's MySQL. Ask for `database_server`, which sees to it that it runs."""
    programs = mysql_folder(REPOSITORY)
    if programs is None:
        pytest.skip(f"there is no MySQL here: {SCRIPT} makes one")
    server = MySql(programs, tmp_path_factory.mktemp("mysql"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def database_server(request: pytest.FixtureRequest) -> DatabaseServer:
    """The server of `database_url`: MariaDB, or what a test of both servers is parametrised with."""
    server: DatabaseServer = request.getfixturevalue(f"{getattr(request, 'param', 'mariadb')}_server")
    server.start()
    return server


@pytest.fixture
def database_url(database_server: DatabaseServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """The SQLAlchemy URL of a database of this test's: empty, or migrated where the test has `database`, too."""
    if "database" in request.fixturenames and isinstance(database_server, MariaDb):
        with migrated_database(database_server) as url:
            yield url
        return
    name = f"t_{_test_digest(request)}"
    drop_database(database_server.site, name)
    yield create_database(database_server.site, name)
    database_server.start()
    drop_database(database_server.site, name)


@pytest.fixture
def database(database_server: DatabaseServer, database_url: str) -> Iterator[Database]:
    """The database at `database_url`, migrated and without results."""
    if not is_migrated(database_url):
        make_migrated_tables(database_server, database_url)
    with Database(DatabaseSettings(database_url, patience_s=30)) as database:
        yield database


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """The session's S3. Ask for `s3`, which sees to it that it runs."""
    server = S3(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def s3(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """The session's S3, running, with the AWS variables of this test (and of its children) pointing to it."""
    s3_server.start()
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in aws_environ(s3_server.port).items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture
def bucket(s3: S3, request: pytest.FixtureRequest) -> ScratchBucket:
    """A fresh bucket named from the test."""
    stem = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:40].strip("-")
    name = f"{stem}-{_test_digest(request)}"
    client = s3.client()
    client.create_bucket(Bucket=name)
    return ScratchBucket(name, client, s3.endpoint_url)


@pytest.fixture
def flaky_s3(bucket: ScratchBucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlakyS3]:
    """A proxy before the test's S3 that misbehaves when told to; the AWS variables point to it."""
    with FlakyS3(bucket.endpoint_url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint_url)
        yield proxy


def _test_digest(request: pytest.FixtureRequest) -> str:
    return hashlib.sha256(str(request.node.nodeid).encode()).hexdigest()[:12]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout's root folder."""
    return REPOSITORY
