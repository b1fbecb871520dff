"""The database of these tests knows the model versions that they store results of."""

from __future__ import annotations

import pytest
from support.stored_rows import model

from sniffer.adapters.mysql.database import Database


@pytest.fixture
def database(database: Database) -> Database:
    """With model versions 1 to 6."""
    for version in range(1, 7):
        database.models.register(model(version))
    return database
