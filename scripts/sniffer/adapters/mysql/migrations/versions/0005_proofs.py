"""What a certificate proves: runs and their leases, tallies, identities with size and date, and cheap queries.

Every step looks first whether it is done, so that the migration can be run again after an interruption at any point.
"""

from alembic import op
from sqlalchemy import text

from sniffer.adapters.mysql.migration_steps import has_column

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
        ADD KEY predictions_by_any_score (score),
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

# The key as text, so that a view can show and find it; a column that takes no room but in its index.
KEY_TEXT = """
    ALTER TABLE images ADD COLUMN key_text VARCHAR(1024) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
        GENERATED ALWAYS AS (CONVERT(object_key USING utf8mb4)) VIRTUAL
"""

IMAGES = """
    ALTER TABLE images
        DROP KEY images_by_content,
        DROP KEY images_by_key,
        ADD KEY images_by_key (key_text(255), bucket, last_modified)
"""

# Sub-queries in place of a join tell the servers before they plan that there is one version and one threshold, so that
# they read an index in order of score and stop at the limit.
VIEWS = {
    "flagged_images": """
    CREATE OR REPLACE VIEW flagged_images AS
    SELECT i.image_id, i.bucket, i.key_text AS object_key, i.etag, i.last_modified, p.model_version, p.score,
           m.threshold, p.outcome, p.rendering, s.scan_id, p.scored_at
    FROM predictions p
    STRAIGHT_JOIN models m FORCE INDEX (PRIMARY) ON m.version = p.model_version
    JOIN images i ON i.image_id = p.image_id
    LEFT JOIN scans s ON s.number = p.scan_number
    LEFT JOIN images newer
        ON newer.key_text = i.key_text AND newer.object_key = i.object_key AND newer.bucket = i.bucket
        AND (newer.last_modified > i.last_modified
            OR (newer.last_modified = i.last_modified AND newer.image_id > i.image_id))
    LEFT JOIN predictions gone
        ON gone.image_id = p.image_id AND gone.outcome = 'gone' AND gone.scored_at > p.scored_at
    WHERE p.model_version = (SELECT MAX(version) FROM models WHERE status = 'stable')
        AND p.score >= (SELECT MAX(threshold) FROM models WHERE status = 'stable')
        AND newer.image_id IS NULL AND gone.image_id IS NULL
    """,
    "flagged_history": """
    CREATE OR REPLACE VIEW flagged_history AS
    SELECT i.image_id, i.bucket, i.key_text AS object_key, i.etag, i.last_modified, p.model_version, p.score,
           m.threshold, p.outcome, p.rendering, s.scan_id, p.scored_at
    FROM predictions p
    STRAIGHT_JOIN models m FORCE INDEX (PRIMARY) ON m.version = p.model_version
    JOIN images i ON i.image_id = p.image_id
    LEFT JOIN scans s ON s.number = p.scan_number
    WHERE p.score >= m.threshold AND p.score >= (SELECT MIN(threshold) FROM models)
    """,
    "unreadable_images": """
    CREATE OR REPLACE VIEW unreadable_images AS
    SELECT i.image_id, i.bucket, i.key_text AS object_key, i.etag, i.last_modified, i.size_bytes, p.model_version,
           p.error_code, p.error_message, p.decoder_version, s.scan_id, p.scored_at
    FROM predictions p
    JOIN images i ON i.image_id = p.image_id
    LEFT JOIN scans s ON s.number = p.scan_number
    WHERE p.outcome = 'unreadable' AND p.model_version = (SELECT MAX(version) FROM models WHERE status = 'stable')
    """,
}


def upgrade() -> None:
    """Change the tables, fill the new columns in batches, then make the views."""
    _create(LEASES)
    _create(TALLIES)
    if not has_column(op.get_bind(), "scans", "number"):
        op.execute(SCANS)
    if not has_column(op.get_bind(), "predictions", "scan_number"):
        op.execute(PREDICTIONS)
    if has_column(op.get_bind(), "predictions", "scan_id"):
        _in_batches(SCAN_NUMBERS)
        checks = "".join(f"DROP CONSTRAINT {name},\n        " for name in _checks("predictions"))
        op.execute(SCAN_IDS_GO.format(without_checks=checks))
    _in_batches(IDENTITIES)
    if not has_column(op.get_bind(), "images", "key_text"):
        op.execute(KEY_TEXT)
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


def _has_index(table: str, index: str) -> bool:
    query = (
        "SELECT 1 FROM information_schema.statistics WHERE table_schema = DATABASE() "
        f"AND table_name = '{table}' AND index_name = '{index}' LIMIT 1"
    )
    return op.get_bind().execute(text(query)).scalar() is not None


def _checks(table: str) -> list[str]:
    """The names of its CHECK constraints, which each server made up in its own way."""
    query = (
        "SELECT constraint_name FROM information_schema.table_constraints WHERE constraint_type = 'CHECK' "
        f"AND table_schema = DATABASE() AND table_name = '{table}'"
    )
    return list(op.get_bind().execute(text(query)).scalars())
