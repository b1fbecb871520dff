"""A batch above max_allowed_packet is stored in parts, and only an image that is above it alone is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection
from support.database_servers import DatabaseServer
from support.stored_rows import listed, predicted, record, rows

from sniffer.adapters.images import DECODER_VERSION
from sniffer.adapters.mysql.database import Database
from sniffer.adapters.mysql.errors import StatementTooLarge
from sniffer.adapters.mysql.parts import Parts
from sniffer.adapters.mysql.transactions import Transactions, _size
from sniffer.core.records import Outcome
from sniffer.core.settings import DatabaseSettings


@contextmanager
def limited(database_server: DatabaseServer, database_url: str, limit_bytes: int) -> Iterator[Database]:
    """The database by connections that take statements of so many bytes."""
    ((before,),) = database_server.site.rows("SELECT @@global.max_allowed_packet")
    database_server.site.execute(f"SET GLOBAL max_allowed_packet = {limit_bytes}")
    try:
        with Database(DatabaseSettings(database_url, patience_s=5)) as narrow:
            yield narrow
    finally:
        database_server.site.execute(f"SET GLOBAL max_allowed_packet = {before}")


@pytest.fixture
def narrow(database: Database, database_server: DatabaseServer, database_url: str) -> Iterator[Database]:
    """The database by a connection that takes statements of 1 MiB."""
    with limited(database_server, database_url, 1 << 20) as narrow:
        yield narrow


@pytest.mark.both_servers
def test_a_batch_above_max_allowed_packet_is_stored_in_parts(
    narrow: Database, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    results = [predicted(f"{number:04}{'k' * 900}", number / 2000, b"%d" % number) for number in range(1100)]
    assert record(narrow, results, model_version=1, scan_id="s") == [Outcome.PREDICTED] * 1100
    assert rows(database_url, "SELECT COUNT(*), COUNT(DISTINCT image_id) FROM predictions") == [(1100, 1100)]
    assert rows(database_url, "SELECT SUM(images) FROM tallies") == [(1100,)]
    refused = [text for text in caplog.messages if "at once from now on" in text]
    assert len(refused) == 1 and "max_allowed_packet of 1,048,576" in refused[0]
    # The next batch knows it.
    caplog.clear()
    assert record(narrow, results, model_version=1, scan_id="s") == [Outcome.PREDICTED] * 1100
    assert not caplog.messages


@pytest.mark.both_servers
def test_many_are_looked_up_in_parts(narrow: Database) -> None:
    record(narrow, [predicted(f"k{number}", 0.5) for number in range(8)], model_version=1, scan_id="s")
    identities = [*(b"%032d" % number for number in range(40_000)), *(listed(f"k{n}").identity for n in range(8))]
    assert len(narrow.images.settled(identities, 1, DECODER_VERSION)) == 8
    assert len(narrow.images.seen_by_others(identities, "other")) == 8
    assert narrow.images.seen_by_others(identities, "s") == set()


@pytest.mark.both_servers
def test_a_limit_that_somebody_made_small_is_met_by_its_name(
    database: Database, database_server: DatabaseServer, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    results = [predicted(f"{number}\n'{'k' * 900}", 0.5) for number in range(32)]
    identities = [*(bytes([number]) * 32 for number in range(200)), *(result.image.identity for result in results)]
    with limited(database_server, database_url, 16_384) as narrow:
        assert len(record(narrow, results, model_version=1, scan_id="s")) == 32
        assert len(narrow.images.seen_by_others(identities * 4, "other")) == 32
    refused = [text for text in caplog.messages if "at once from now on" in text]
    assert refused and all("max_allowed_packet of 16,384" in text for text in refused), caplog.messages
    assert not [text for text in caplog.messages if "trying again" in text]


def test_a_statement_is_measured_as_the_driver_writes_it(database_url: str) -> None:
    parameters = (bytes(range(256)) * 4, "ü'\n", 12, 0.25, None)
    transactions = Transactions(DatabaseSettings(database_url, patience_s=5))

    def written(connection: Connection) -> bytes:
        driver = connection.connection.driver_connection
        assert driver is not None
        return b",".join(driver.literal(parameter) for parameter in parameters)

    length = len(transactions.transact(written))
    transactions.close()
    assert 0 <= _size(parameters) - length < 30


def test_what_is_above_it_alone_is_an_error_and_nothing_else_is_left_out() -> None:
    def work(part: Sequence[int]) -> list[int]:
        if sum(part) > 10:
            raise StatementTooLarge("too large")
        return list(part)

    assert Parts().each([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], work) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    with pytest.raises(StatementTooLarge):
        Parts().each([1, 2, 11, 3], work)
