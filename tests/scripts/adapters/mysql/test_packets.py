"""A batch above max_allowed_packet is stored in parts, and only an image that is above it alone is named."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.database_servers import DatabaseServer
from support.stored_rows import listed, predicted, record, rows

from sniffer.adapters.images import DECODER_VERSION
from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import SettingsError
from sniffer.core.records import Outcome
from sniffer.core.settings import DatabaseSettings

pytestmark = pytest.mark.both_servers


@pytest.fixture
def narrow(database: Database, database_server: DatabaseServer, database_url: str) -> Iterator[Database]:
    """The database by a connection that takes statements of 16 KiB."""
    ((before,),) = database_server.site.rows("SELECT @@global.max_allowed_packet")
    database_server.site.execute(f"SET GLOBAL max_allowed_packet = {16 << 10}")
    try:
        with Database(DatabaseSettings(database_url, patience_s=5)) as narrow:
            yield narrow
    finally:
        database_server.site.execute(f"SET GLOBAL max_allowed_packet = {before}")


def test_a_batch_above_max_allowed_packet_is_stored_in_parts(
    narrow: Database, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    results = [predicted(f"{number:04}{'k' * 900}", number / 100, b"%d" % number) for number in range(64)]
    assert record(narrow, results, model_version=1, scan_id="s") == [Outcome.PREDICTED] * 64
    assert rows(database_url, "SELECT COUNT(*), COUNT(DISTINCT image_id) FROM predictions") == [(64, 64)]
    assert rows(database_url, "SELECT SUM(images) FROM tallies") == [(64,)]
    refused = [text for text in caplog.messages if "at once from now on" in text]
    assert len(refused) <= 4 and "max_allowed_packet of 16,384" in refused[0]
    # The next batch knows it.
    caplog.clear()
    assert record(narrow, results, model_version=1, scan_id="s") == [Outcome.PREDICTED] * 64
    assert not caplog.messages


def test_many_are_looked_up_in_parts(narrow: Database) -> None:
    results = [predicted(f"k{number}", 0.5) for number in range(8)]
    record(narrow, results, model_version=1, scan_id="s")
    identities = [listed(f"k{number}").identity for number in range(2000)]
    assert len(narrow.images.settled(identities, 1, DECODER_VERSION)) == 8
    hashes = [result.content_hash for result in results if result.content_hash] + [b"%032d" % n for n in range(2000)]
    assert set(narrow.images.scored_bytes(hashes, 1)) == {result.content_hash for result in results}


def test_one_image_that_is_above_it_alone_is_named(narrow: Database, database_server: DatabaseServer) -> None:
    database_server.site.execute("SET GLOBAL max_allowed_packet = 1024")
    narrow.close()
    with pytest.raises(SettingsError, match=r"above its max_allowed_packet of 1,024: set it to 64M"):
        record(narrow, [predicted("k" * 1024)], model_version=1, scan_id="s")
