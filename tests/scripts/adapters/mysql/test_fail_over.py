"""A server that turns read-only, hangs or is replaced while connections to it stay open."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text
from support.database_servers import DatabaseServer
from support.tcp_proxy import TcpProxy

from sniffer.adapters.mysql.transactions import Transactions
from sniffer.core.errors import TransientError
from sniffer.core.settings import DatabaseSettings
from sniffer_local.mariadb import DatabaseSite, MariaDb, create_database

pytestmark = pytest.mark.both_servers

NAME, USER, PASSWORD = "fail_over", "ordinary", "an-ordinary-password"


def prepare(site: DatabaseSite) -> None:
    """An ordinary user with a database: one with all rights may write to a server that is read-only."""
    create_database(site, NAME)
    site.execute(
        f"CREATE TABLE IF NOT EXISTS {NAME}.kept (n INT NOT NULL)",
        f"CREATE USER IF NOT EXISTS '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'",
        f"GRANT SELECT, INSERT ON {NAME}.* TO '{USER}'@'127.0.0.1'",
    )


def url(port: int) -> str:
    """Unencrypted, since the default never goes from a server that offers encryption to one that offers none."""
    return f"mysql+mysqldb://{USER}:{PASSWORD}@127.0.0.1:{port}/{NAME}?ssl_mode=DISABLED"


@pytest.fixture
def first(database_server: DatabaseServer) -> Iterator[DatabaseServer]:
    prepare(database_server.site)
    yield database_server
    database_server.site.execute(
        "SET GLOBAL read_only = OFF", f"DROP DATABASE {NAME}", f"DROP USER '{USER}'@'127.0.0.1'"
    )


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    server = MariaDb(tmp_path_factory.mktemp("second"))
    server.start()
    prepare(server.site)
    yield server
    server.stop()


def insert(connection: Connection) -> None:
    connection.execute(text("INSERT INTO kept VALUES (1)"))


def rows(site: DatabaseSite) -> int:
    count: int = site.rows(f"SELECT COUNT(*) FROM {NAME}.kept")[0][0]
    return count


def test_a_server_that_turned_read_only_is_left_for_the_one_that_the_name_leads_to(
    first: DatabaseServer, second: MariaDb
) -> None:
    with TcpProxy(first.port) as proxy:
        transactions = Transactions(DatabaseSettings(url(proxy.port), patience_s=20))
        transactions.transact(insert)
        first.site.execute("SET GLOBAL read_only = ON")
        proxy.target = second.port
        before, begun = rows(second.site), time.monotonic()
        transactions.transact(insert)
        assert time.monotonic() - begun < 5
        assert (rows(first.site), rows(second.site)) == (1, before + 1)
        transactions.close()


def test_a_connection_that_hangs_is_left_for_a_new_one(first: DatabaseServer) -> None:
    with TcpProxy(first.port) as proxy:
        transactions = Transactions(DatabaseSettings(url(proxy.port), patience_s=15))
        transactions.transact(insert)
        proxy.freeze()
        begun = time.monotonic()
        transactions.transact(insert)
        assert 4 < time.monotonic() - begun < 12
        assert rows(first.site) == 2
        transactions.close()


def test_a_server_that_accepts_and_never_answers_is_given_up_within_patience(first: DatabaseServer) -> None:
    with TcpProxy(first.port) as proxy:
        proxy.is_hanging = True
        begun = time.monotonic()
        with pytest.raises(TransientError, match="has not answered for 3 s") as caught:
            Transactions(DatabaseSettings(url(proxy.port), patience_s=3)).transact(insert)
        assert time.monotonic() - begun < 3 + 6
        assert PASSWORD not in str(caught.value)


def test_a_restart_in_the_middle_of_a_transaction_repeats_it_whole(first: DatabaseServer) -> None:
    transactions = Transactions(DatabaseSettings(url(first.port), patience_s=30))
    attempts = 0

    def work(connection: Connection) -> None:
        nonlocal attempts
        attempts += 1
        insert(connection)
        if attempts == 1:
            first.kill()
            first.start()
        insert(connection)

    transactions.transact(work)
    assert (attempts, rows(first.site)) == (2, 2)
    transactions.close()


def test_a_killed_connection_is_replaced(first: DatabaseServer) -> None:
    transactions = Transactions(DatabaseSettings(url(first.port), patience_s=20))
    number = transactions.transact(lambda connection: connection.execute(text("SELECT CONNECTION_ID()")).scalar_one())
    first.site.execute(f"KILL {number}")
    transactions.transact(insert)
    assert rows(first.site) == 1
    transactions.close()
