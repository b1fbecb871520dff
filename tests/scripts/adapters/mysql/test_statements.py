"""What a batch costs in statements: each is a round trip, a millisecond and more between two zones of a cloud."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, create_engine, text
from support.stored_rows import failed, predicted, record

from sniffer.adapters.mysql.database import Database
from sniffer.core.records import Result, ScanRequest

pytestmark = pytest.mark.both_servers

MOST = 10


def questions(connection: Connection) -> int:
    """Statements that clients have sent to the server so far."""
    return int(connection.execute(text("SHOW GLOBAL STATUS LIKE 'Questions'")).one()[1])


def cost(database: Database, database_url: str, results: list[Result], *, rescan: bool = False) -> int:
    """Statements of a batch as a consumer works: the look-up of known bytes, then what is stored."""
    token = database.scans.open(ScanRequest("s", "bkt"), 1, 0.5)
    engine = create_engine(database_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as monitor:
        idle = -questions(monitor) + questions(monitor)
        before = questions(monitor)
        database.images.scored_bytes([result.content_hash or b"" for result in results], 1)
        record(database, results, token=token, rescan=rescan)
        spent = questions(monitor) - before - idle
    engine.dispose()
    return spent


@pytest.mark.parametrize("size", [1, 32, 512])
def test_a_batch_costs_the_same_few_statements_whatever_its_size(
    database: Database, database_url: str, size: int
) -> None:
    results = [predicted(f"k{number}") for number in range(size)]
    record(database, [predicted("warm")])
    assert 5 <= cost(database, database_url, results) <= MOST


def test_so_do_mixed_batches_and_those_that_change_nothing(database: Database, database_url: str) -> None:
    results = [predicted(f"k{number}") if number % 3 else failed(f"k{number}") for number in range(32)]
    assert cost(database, database_url, results) <= MOST
    assert cost(database, database_url, results) <= MOST
    assert cost(database, database_url, [predicted(f"k{number}") for number in range(32)]) <= MOST
