"""Airflow's own API server with our pages, made once: that takes seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from support.airflow_people import api_server


@pytest.fixture(scope="session")
def client(airflow_database: None) -> Iterator[TestClient]:
    with TestClient(api_server()) as client:
        yield client
