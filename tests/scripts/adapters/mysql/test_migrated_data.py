"""Migration 0005 on a database with data: what older releases stored keeps its meaning."""

from __future__ import annotations

import itertools

import pytest
from sqlalchemy import Engine, event
from support.stored_rows import change, listed, rows

from sniffer.adapters.images import DECODER_VERSION
from sniffer.adapters.mysql.database import Database
from sniffer.adapters.mysql.schema import SCHEMA_VERSION
from sniffer.core.records import ListedObject
from sniffer.core.settings import DatabaseSettings

pytestmark = pytest.mark.both_servers

KEYS = ("plain.jpg", "emoji \U0001f600 'quoted'.jpg", "k" * 1024)


def quoted(text: str) -> str:
    return f"UNHEX('{text.encode().hex()}')"


def store_as_before(database_url: str) -> None:
    """Three images as release 0004 stored them: scored, failed, unreadable; the last by a scan that is not there."""
    with Database(DatabaseSettings(database_url, patience_s=30)) as database:
        database.migrate("0004")
    change(
        database_url,
        "INSERT INTO models (version, digest, backbone_digest, preprocessing_version, threshold, metrics, status, "
        "registered_at) VALUES (1, 'd', 'b', 'p', 0.5, '{}', 'stable', NOW(6))",
    )
    for scan_id in ("one", "two"):
        change(
            database_url,
            "INSERT INTO scans (scan_id, bucket, prefix, model_version, request, state, started_at) "
            f"VALUES ('{scan_id}', 'bkt', '', 1, '{{}}', 'complete', NOW(6))",
        )
    outcomes = (("two", "predicted", 0.9, None), ("one", "failed", None, "fetch"), ("?", "unreadable", None, "corrupt"))
    for number, (key, (scan_id, outcome, score, code)) in enumerate(zip(KEYS, outcomes, strict=True), 1):
        change(
            database_url,
            "INSERT INTO images (image_id, identity, bucket, object_key, etag, size_bytes, last_modified) VALUES "
            f"({number}, UNHEX(SHA2('{number}', 256)), 'bkt', {quoted(key)}, 'e1', 123, '2026-11-20 12:30:00.000000')",
        )
        row = f"({number}, 1, '{scan_id}', '{outcome}', {score or 'NULL'}, {repr(code) if code else 'NULL'}, NOW(6))"
        change(
            database_url,
            "INSERT INTO predictions (image_id, model_version, scan_id, outcome, score, error_code, scored_at) "
            f"VALUES {row}",
        )


def check_migrated(database: Database, database_url: str) -> None:
    database.check()
    scored, failed, unreadable = (listed(key).identity for key in KEYS)
    assert database.images.look_up([scored, failed, unreadable], 1).keys() == {scored, failed, unreadable}
    # The decoder of before is not known, so that it is asked again.
    assert database.images.settled([scored, failed, unreadable], 1, DECODER_VERSION) == {scored: 0.9}
    retried: list[ListedObject] = [
        image for page in database.images.failed_objects("bkt", "", 1, DECODER_VERSION) for image in page
    ]
    assert retried == [listed(KEYS[1])]
    numbers = (
        "SELECT scan_id, p.run_number FROM predictions p LEFT JOIN scans ON number = scan_number ORDER BY image_id"
    )
    assert rows(database_url, numbers) == [("two", 0), ("one", 0), (None, 0)]
    assert rows(database_url, "SELECT object_key, scan_id FROM flagged_images") == [(KEYS[0], "two")]


def test_data_of_before_keeps_its_meaning(database_url: str) -> None:
    store_as_before(database_url)
    with Database(DatabaseSettings(database_url, patience_s=30)) as database:
        database.migrate()
        check_migrated(database, database_url)


class Interrupted(Exception):
    """As if the process had been killed."""


@pytest.mark.slow
def test_the_migration_may_be_interrupted_again_and_again(database_url: str) -> None:
    """After each of its statements once, going on from where the one before has stopped."""
    store_as_before(database_url)
    seen: set[str] = set()

    def interrupt(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        changes = statement.split(maxsplit=1)[0].upper() in ("ALTER", "CREATE", "UPDATE", "COMMIT")
        if changes and statement not in seen:
            seen.add(statement)
            raise Interrupted

    event.listen(Engine, "after_cursor_execute", interrupt)
    try:
        with Database(DatabaseSettings(database_url, patience_s=30)) as database:
            for attempt in itertools.count():
                try:
                    database.migrate()
                    break
                except Interrupted:
                    assert attempt < 10 * int(SCHEMA_VERSION), "a statement differs from try to try: it never ends"
            assert len(seen) > 8
            check_migrated(database, database_url)
    finally:
        event.remove(Engine, "after_cursor_execute", interrupt)
