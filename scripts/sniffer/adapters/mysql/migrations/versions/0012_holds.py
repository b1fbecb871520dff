"""Scans that are held: which are, what people decided, and of which source and state a scan is.

Every step looks first whether it is done, so that the migration can be run again after an interruption at any point.
"""

from alembic import op
from sqlalchemy import text

from sniffer.adapters.mysql.migration_steps import has_column

revision = "0012"
down_revision = "0011"

HOLDS = """
    CREATE TABLE IF NOT EXISTS holds (
        scan_number BIGINT NOT NULL PRIMARY KEY,
        reason VARCHAR(500) CHARACTER SET utf8mb4 NOT NULL,
        held_at DATETIME(6) NOT NULL
    )
"""

DECISIONS = """
    CREATE TABLE IF NOT EXISTS hold_decisions (
        number BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
        scan_number BIGINT NOT NULL,
        run_number INT NOT NULL,
        decision VARCHAR(16) NOT NULL,
        decided_by VARCHAR(200) CHARACTER SET utf8mb4 NULL,
        reason VARCHAR(2000) CHARACTER SET utf8mb4 NOT NULL,
        results BIGINT NULL,
        decided_at DATETIME(6) NOT NULL,
        KEY hold_decisions_by_scan (scan_number, number),
        CONSTRAINT hold_decisions_decision CHECK (decision IN ('held', 'released', 'discarded'))
    )
"""

SCANS = """
    ALTER TABLE scans
        {without_checks}
        ADD COLUMN source_digest BINARY(32) NULL AFTER prefix,
        ADD COLUMN discarded_run INT NOT NULL DEFAULT 0 AFTER run_number,
        ADD KEY scans_by_source (source_digest, model_version, state, number),
        ADD CONSTRAINT scans_state CHECK (state IN ('running', 'complete', 'incomplete', 'held', 'discarded'))
"""

# The same as `flag_source()` of a scan that names no source; a scan is a row.
SOURCES = """
    UPDATE scans SET source_digest = UNHEX(SHA2(CONCAT(bucket, CHAR(0), prefix), 256)) WHERE source_digest IS NULL
"""

# A look-up by primary key in a table of a few rows, for each row that a view shows.
_NOT_HELD = "AND NOT EXISTS (SELECT 1 FROM holds h WHERE h.scan_number = p.scan_number)"

VIEWS = (
    f"""
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
        {_NOT_HELD}
    """,
    f"""
    CREATE OR REPLACE VIEW flagged_history AS
    SELECT i.image_id, i.bucket, i.key_text AS object_key, i.etag, i.last_modified, p.model_version, p.score,
           m.threshold, p.outcome, p.rendering, s.scan_id, p.scored_at
    FROM predictions p
    STRAIGHT_JOIN models m FORCE INDEX (PRIMARY) ON m.version = p.model_version
    JOIN images i ON i.image_id = p.image_id
    LEFT JOIN scans s ON s.number = p.scan_number
    WHERE p.score >= m.threshold AND p.score >= (SELECT MIN(threshold) FROM models)
        {_NOT_HELD}
    """,
)


def upgrade() -> None:
    """Add the tables and columns, then the views that leave out what is held."""
    for table in (HOLDS, DECISIONS):
        op.execute(f"{table} ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET ascii COLLATE ascii_bin")
    if not has_column(op.get_bind(), "scans", "source_digest"):
        op.execute(SCANS.format(without_checks="".join(f"DROP CONSTRAINT {name}, " for name in _state_checks())))
    op.execute(SOURCES)
    for view in VIEWS:
        op.execute(view)


def _state_checks() -> list[str]:
    """The names of the CHECK of the states, which each server made up in its own way."""
    query = (
        "SELECT t.constraint_name FROM information_schema.table_constraints t "
        "JOIN information_schema.check_constraints c "
        "ON c.constraint_schema = t.constraint_schema AND c.constraint_name = t.constraint_name "
        "WHERE t.table_schema = DATABASE() AND t.table_name = 'scans' AND t.constraint_type = 'CHECK' "
        "AND c.check_clause LIKE '%incomplete%'"
    )
    return list(op.get_bind().execute(text(query)).scalars())
