"""One migrated database for all tests of the review page and its programs, emptied before each: this is faster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.database_servers import DatabaseServer
from support.emptied_database import emptied_database
from support.review_site import end_decoder

from sniffer.adapters.mysql.database import Database
from sniffer.core.settings import DatabaseSettings


@pytest.fixture(scope="session", autouse=True)
def shared_decoder() -> Iterator[None]:
    """It ends with the last test."""
    yield
    end_decoder()


@pytest.fixture
def database_url(database_server: DatabaseServer) -> str:
    """The SQLAlchemy URL of a database that is migrated and empty."""
    return emptied_database(database_server)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """That database."""
    with Database(DatabaseSettings(database_url, patience_s=30)) as opened:
        yield opened
