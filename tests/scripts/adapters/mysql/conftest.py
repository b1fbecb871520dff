"""Fixtures of the store."""

from __future__ import annotations

import pytest
from support.stored_rows import model

from sniffer.adapters.mysql.database import Database


@pytest.fixture
def database(database: Database) -> Database:
    """The model versions 1 and 2 are there, and not in production."""
    database.models.register(model(1))
    database.models.register(model(2))
    return database
