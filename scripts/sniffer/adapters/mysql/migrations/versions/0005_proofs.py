"""What a certificate proves: runs and their leases, tallies, identities with size and date, and cheap queries.

Every step looks first whether it is done, so that the migration can be run again after an interruption at any point.
"""

from alembic import op
from sqlalchemy import text

revision = "0005"
down_revision = "0004"

BATCH_ROWS = 10_000
"""Rows that one transaction changes: a large table is neither locked nor rolled back as a whole."""

LEASES = """
    CREATE TABLE IF NOT EXISTS leases (
        scan_number BIGINT NOT NULL PRIMARY KEY,
        lease_until DATETIME(6) NOT NULL,
        holder VARCHAR(255) CHARACTER SET utf8mb4 NOT NULL
    )
"""

TALLIES = """
    CREATE TABLE IF NOT EXISTS tallies (
        scan_number BIGINT NOT NULL,
        run_number INT NOT NULL,
        writer BIGINT NOT NULL,
        outcome VARCHAR(16) NOT NULL,
        code VARCHAR(64) NOT NULL,
        images BIGINT NOT NULL,
        flagged BIGINT NOT NULL,
        digest BINARY(32) NOT NULL,
        PRIMARY KEY (scan_number, run_number, writer, outcome, code)
    )
"""

SCANS = """
    ALTER TABLE scans
        DROP PRIMARY KEY,
        ADD COLUMN number BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY FIRST,
        ADD UNIQUE KEY scans_by_scan_id (scan_id),
        ADD COLUMN run_number INT NOT NULL DEFAULT 0 AFTER scan_id,
        ADD COLUMN threshold DOUBLE NULL AFTER model_version,
        ADD COLUMN inaccessible BIGINT NOT NULL DEFAULT 0 AFTER unreadable,
        ADD COLUMN skipped BIGINT NOT NULL DEFAULT 0 AFTER gone
"""

PREDICTIONS = """
    ALTER TABLE predictions
        ADD COLUMN scan_number BIGINT NULL AFTER scan_id,
        ADD COLUMN run_number INT NOT NULL DEFAULT 0 AFTER scan_number,
        ADD COLUMN rendering VARCHAR(64) NULL AFTER score,
        ADD COLUMN decoder_version INT NULL AFTER error_message,
        ADD COLUMN counted_for VARCHAR(160) NULL
"""

# A scan that is not in `scans` any more is 0.
SCAN_NUMBERS = """
    UPDATE predictions p LEFT JOIN scans s ON s.scan_id = p.scan_id
    SET p.scan_number = COALESCE(s.number, 0)
    WHERE p.image_id BETWEEN :first AND :last AND p.scan_number IS NULL
"""

SCAN_IDS_GO = """
    ALTER TABLE predictions
        {without_checks}
        DROP KEY predictions_by_scan,
        DROP COLUMN scan_id,
        MODIFY COLUMN scan_number BIGINT NOT NULL,
        ADD KEY predictions_by_outcome (model_version, outcome, scan_number),
        ADD CONSTRAINT predictions_outcome
            CHECK (outcome IN ('predicted', 'reused', 'unreadable', 'inaccessible', 'gone', 'failed')),
        ADD CONSTRAINT predictions_score CHECK ((outcome IN ('predicted', 'reused')) = (score IS NOT NULL))
"""

# The same as `ListedObject.identity`.
IDENTITIES = """
    UPDATE images SET identity = UNHEX(SHA2(CONCAT(
        bucket, CHAR(0), etag, CHAR(0), size_bytes, CHAR(0),
        TIMESTAMPDIFF(MICROSECOND, '1970-01-01', last_modified), CHAR(0), object_key
    ), 256))
    WHERE image_id BETWEEN :first AND :last
"""

IMAGES = "ALTER TABLE images DROP KEY images_by_content"

VIEWS = {
    "flagged_images": """
    CREATE OR REPLACE VIEW flagged_images AS
    SELECT i.image_id, i.bucket, CONVERT(i.object_key USING utf8mb4) AS object_key, i.etag, i.last_modified,
           p.model_version, p.score, m.threshold, p.outcome, p.rendering, s.scan_id, p.scored_at
    FROM predictions p
    JOIN models m ON m.version = p.model_version
    JOIN images i ON i.image_id = p.image_id
    LEFT JOIN scans s ON s.number = p.scan_number
    WHERE p.score >= m.threshold
    """,
}


def upgrade() -> None:
    """Change the tables, fill the new columns in batches, then make the views."""
    _create(LEASES)
    _create(TALLIES)
    if not _has_column("scans", "number"):
        op.execute(SCANS)
    if not _has_column("predictions", "scan_number"):
        op.execute(PREDICTIONS)
    if _has_column("predictions", "scan_id"):
        _in_batches(SCAN_NUMBERS)
        checks = "".join(f"DROP CONSTRAINT {name},\n        " for name in _checks("predictions"))
        op.execute(SCAN_IDS_GO.format(without_checks=checks))
    _in_batches(IDENTITIES)
    if _has_index("images", "images_by_content"):
        op.execute(IMAGES)
    for view in VIEWS.values():
        op.execute(view)


def _create(table: str) -> None:
    op.execute(f"{table} ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET ascii COLLATE ascii_bin")


def _in_batches(statement: str) -> None:
    """Run it for all images, so many at a time, each batch in a transaction of its own."""
    connection = op.get_bind()
    last = connection.execute(text("SELECT MAX(image_id) FROM images")).scalar() or 0
    for first in range(1, last + 1, BATCH_ROWS):
        connection.execute(text(statement), {"first": first, "last": first + BATCH_ROWS - 1})
        connection.execute(text("COMMIT"))


def _has_column(table: str, column: str) -> bool:
    return _exists("columns", f"table_name = '{table}' AND column_name = '{column}'")


def _has_index(table: str, index: str) -> bool:
    return _exists("statistics", f"table_name = '{table}' AND index_name = '{index}'")


def _exists(kind: str, which: str) -> bool:
    query = f"SELECT 1 FROM information_schema.{kind} WHERE table_schema = DATABASE() AND {which} LIMIT 1"
    return op.get_bind().execute(text(query)).scalar() is not None


def _checks(table: str) -> list[str]:
    """The names of its CHECK constraints, which each server made up in its own way."""
    query = (
        "SELECT constraint_name FROM information_schema.table_constraints WHERE constraint_type = 'CHECK' "
        f"AND table_schema = DATABASE() AND table_name = '{table}'"
    )
    return list(op.get_bind().execute(text(query)).scalars())
