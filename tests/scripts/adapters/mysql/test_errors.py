"""What a transaction does with each kind of error, raised by a real server."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text
from support.database_servers import DatabaseServer

from sniffer.adapters.mysql.transactions import Transactions
from sniffer.core.errors import ContractError, SettingsError, SnifferError, TransientError
from sniffer.core.settings import DatabaseSettings

pytestmark = pytest.mark.both_servers

LOCKS = (1205, 1213, 3572)
PASSING = (
    1040,
    1047,
    1053,
    1158,
    1159,
    1160,
    1161,
    1180,
    1203,
    1226,
    1290,
    1317,
    1792,
    1836,
    1927,
    1969,
    3024,
    3100,
    3101,
)
DISK_FULL = (1021, 1114, 3675)
RIGHTS = (1142, 1143, 1227, 1370)
SETTINGS = (1044, 1049, 1130, 3159, 1820)
UNKNOWN = (1105, 7777)


@pytest.fixture
def transactions(database_url: str) -> Iterator[Transactions]:
    transactions = Transactions(DatabaseSettings(database_url, patience_s=20))
    yield transactions
    transactions.close()


def fail(connection: Connection, number: int, message: str = "so it is") -> None:
    connection.execute(text(f"SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = '{message}'"))


def connections_of_two_attempts(transactions: Transactions, number: int) -> list[int]:
    seen: list[int] = []

    def work(connection: Connection) -> None:
        seen.append(connection.execute(text("SELECT CONNECTION_ID()")).scalar_one())
        if len(seen) == 1:
            fail(connection, number)

    transactions.transact(work)
    return seen


@pytest.mark.parametrize("number", [*PASSING, *DISK_FULL, *UNKNOWN])
def test_what_is_passing_is_tried_again_on_a_new_connection(transactions: Transactions, number: int) -> None:
    first, second = connections_of_two_attempts(transactions, number)
    assert first != second


def test_each_repeated_transaction_is_counted(database_url: str) -> None:
    counted: list[int] = []
    transactions = Transactions(DatabaseSettings(database_url, patience_s=20), on_retry=lambda: counted.append(1))
    connections_of_two_attempts(transactions, PASSING[0])
    transactions.transact(lambda connection: connection.execute(text("SELECT 1")))
    transactions.close()
    assert counted == [1]


@pytest.mark.parametrize("number", LOCKS)
def test_a_lock_is_no_fault_of_the_connection(transactions: Transactions, number: int) -> None:
    first, second = connections_of_two_attempts(transactions, number)
    assert first == second


def error_of(transactions: Transactions, number: int, message: str = "so it is") -> SnifferError:
    with pytest.raises(SnifferError) as caught:
        transactions.transact(lambda connection: fail(connection, number, message), patience_s=0.0)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("number", [*PASSING, *DISK_FULL, *UNKNOWN, *LOCKS])
def test_when_patience_ends_the_error_is_one_line_with_the_number(transactions: Transactions, number: int) -> None:
    error = error_of(transactions, number)
    assert isinstance(error, TransientError)
    assert f"({number}: " in str(error)


@pytest.mark.parametrize("number", DISK_FULL)
def test_a_full_disk_is_named(transactions: Transactions, number: int) -> None:
    assert "its disk or tablespace is full" in str(error_of(transactions, number))


def test_a_full_disk_is_named_whatever_the_number(transactions: Transactions) -> None:
    error = error_of(transactions, 1030, 'Got error 28 "No space left on device" from storage engine InnoDB')
    assert "its disk or tablespace is full" in str(error)


@pytest.mark.parametrize("number", RIGHTS)
def test_a_missing_right_is_a_setting_and_says_what_prints_the_grants(transactions: Transactions, number: int) -> None:
    error = error_of(transactions, number, "INSERT command denied to user u for table t")
    assert isinstance(error, SettingsError)
    assert "INSERT command denied" in str(error)
    assert "sniffer migrate --grants" in str(error)


@pytest.mark.parametrize("number", SETTINGS)
def test_what_the_user_must_change_is_not_tried_again(transactions: Transactions, number: int) -> None:
    with pytest.raises(SettingsError, match=str(number)):
        transactions.transact(lambda connection: fail(connection, number))


@pytest.mark.parametrize(
    "statement", ["INSERT INTO kept VALUES (:key)", "INSERT INTO kept VALUES (CONCAT(:key, :key))"]
)
def test_a_key_is_in_no_error_and_in_no_traceback(transactions: Transactions, statement: str) -> None:
    key = 'geheim\'/ "x".jpg'

    def work(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE IF NOT EXISTS kept (object_key VARBINARY(16) NOT NULL PRIMARY KEY)"))
        for _ in range(2):
            connection.execute(text(statement), {"key": key.encode()})

    with pytest.raises(ContractError, match="refused a statement") as caught:
        transactions.transact(work)
    assert "geheim" not in "".join(traceback.format_exception(caught.value))


def test_an_unknown_text_is_shown_up_to_what_it_quotes(transactions: Transactions) -> None:
    error = error_of(transactions, 7777, 'Cannot take "geheim.jpg" for "n"')
    assert "7777: Cannot take" in str(error)
    assert "geheim" not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("limit_bytes", [1 << 20, 4 << 20])
def test_a_statement_above_max_allowed_packet_is_named_as_such(
    transactions: Transactions, database_server: DatabaseServer, limit_bytes: int
) -> None:
    (before,) = database_server.site.rows("SELECT @@max_allowed_packet")[0]
    database_server.site.execute(f"SET GLOBAL max_allowed_packet = {limit_bytes}")
    try:
        with pytest.raises(SettingsError, match=rf"max_allowed_packet of {limit_bytes:,}: set it to 64M"):
            transactions.transact(
                lambda connection: connection.execute(text("SELECT LENGTH(:x)"), {"x": "x" * (limit_bytes + 9)})
            )
    finally:
        database_server.site.execute(f"SET GLOBAL max_allowed_packet = {before}")


def test_binary_parameters_carry_no_warnings(transactions: Transactions) -> None:
    def work(connection: Connection) -> list[object]:
        connection.execute(text("SELECT LENGTH(:x)"), {"x": b"\xff\xfe\x00'"})
        return [tuple(row) for row in connection.execute(text("SHOW WARNINGS"))]

    assert transactions.transact(work) == []


def test_the_session_states_its_character_set_and_its_strictness(transactions: Transactions) -> None:
    query = text("SELECT @@character_set_client, @@character_set_connection, @@character_set_results, @@sql_mode")
    *sets, mode = transactions.transact(lambda connection: connection.execute(query).one())
    assert sets == ["utf8mb4"] * 3
    assert "STRICT_ALL_TABLES" in mode
