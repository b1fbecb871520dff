"""What is left of a shard, and how patiently its scan begins: as one in its middle, once any shard has run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.stored_rows import model

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.serving import ModelServer
from sniffer.core.errors import TransientError
from sniffer.core.key_ranges import KeyRange
from sniffer.core.metrics import NO_METRICS
from sniffer.core.records import ScanRequest
from sniffer.core.shard_records import ShardChoice
from sniffer.scan import preflight
from sniffer.scan.request import ScanOptions
from sniffer.scan.stored_shards import NextPart, next_part


@pytest.fixture
def begin(database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], int]:
    """Begins that shard of two while no model server answers; how often it asked."""
    monkeypatch.setenv("SNIFFER_DATABASE_URL", database_url)
    monkeypatch.setenv("SNIFFER_SERVING_URL", "http://127.0.0.1:1/v1/models/m")
    monkeypatch.setenv("SNIFFER_SERVING_PATIENCE_S", "0.1")
    monkeypatch.setattr(preflight, "PREPROCESSING_VERSION", "p1")
    database.models.register(model(1))
    whole = ScanRequest("whole", "bkt")
    database.shards.plan(whole, 1, 0.5, [(KeyRange("", "m"), 1), (KeyRange("m"), 1)])
    asked: list[int] = []
    real = ModelServer.check

    def check(server: ModelServer, version: int) -> None:
        asked.append(version)
        real(server, version)

    monkeypatch.setattr(ModelServer, "check", check)

    def begin(shard: int) -> int:
        choice = ShardChoice("whole", shard)
        part = next_part(database, choice)
        assert isinstance(part, NextPart)
        options = ScanOptions(part.request, part.model_version, dry_run=False, progress=None, shard=choice)
        asked.clear()
        with pytest.raises(TransientError):
            preflight.check_everything(database, options, NO_METRICS, may_resume=not part.is_first_start)
        return len(asked)

    return begin


def test_a_shard_is_as_patient_as_a_scan_in_its_middle_once_another_has_run(
    database: Database, begin: Callable[[int], int]
) -> None:
    assert begin(2) == 1
    first = next_part(database, ShardChoice("whole", 1))
    assert isinstance(first, NextPart)
    database.scans.open(first.request, first.model_version, 0.5)
    assert begin(2) > 1
