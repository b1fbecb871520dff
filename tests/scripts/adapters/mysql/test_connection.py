"""A database that is away, or that the settings do not fit."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from support.database_servers import DatabaseServer
from support.stored_rows import predicted, record, rows

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import SettingsError, TransientError
from sniffer.core.records import Outcome
from sniffer.core.settings import DatabaseSettings

pytestmark = pytest.mark.both_servers


def test_a_killed_database_is_waited_for(
    database: Database, database_server: DatabaseServer, database_url: str
) -> None:
    record(database, [predicted("before")], model_version=1, scan_id="s")
    database_server.kill()
    restart = threading.Timer(2.0, database_server.start)
    restart.start()
    try:
        assert record(database, [predicted("after")], model_version=1, scan_id="s") == [Outcome.PREDICTED]
    finally:
        restart.join()
    assert rows(database_url, "SELECT COUNT(*) FROM predictions") == [(2,)]


def test_patience_ends_with_the_address_and_without_the_password() -> None:
    url = "mysql+mysqldb://u:pa%40ss@127.0.0.1:1/db"
    with (
        Database(DatabaseSettings(url, patience_s=0.1)) as away,
        pytest.raises(TransientError, match=r"127\.0\.0\.1:1/db has not answered for 0.1 s") as caught,
    ):
        away.scans.running_versions()
    assert "pa%40ss" not in str(caught.value)


def test_a_password_that_was_not_quoted_is_not_shown() -> None:
    with (
        Database(DatabaseSettings("mysql+mysqldb://u:pa@geheim@127.0.0.1:1/db")) as database,
        pytest.raises(SettingsError, match="percent-encoded") as caught,
    ):
        database.check()
    assert "geheim" not in str(caught.value)


def test_a_url_that_cannot_be_parsed_is_shown_without_its_password() -> None:
    with pytest.raises(SettingsError, match="it looks like mysql") as caught:
        Database(DatabaseSettings("mysql+mysqldb://u:pa@host:geheim@127.0.0.1/db"))
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("altered", "message"),
    [
        (lambda url: url.replace(url.split(":")[2].split("@")[0], "wrong"), "access denied"),
        (lambda url: url.replace("127.0.0.1", "no-such-host.invalid"), "unknown host"),
        (lambda url: url.replace("?", "_absent?"), "unknown database|access denied"),
        (lambda url: url, "run `sniffer migrate`"),
    ],
)
def test_wrong_settings_are_said_in_one_line(database_url: str, altered: Callable[[str], str], message: str) -> None:
    with (
        Database(DatabaseSettings(altered(database_url))) as database,
        pytest.raises(SettingsError, match=message) as caught,
    ):
        database.check()
    assert "\n" not in str(caught.value)
