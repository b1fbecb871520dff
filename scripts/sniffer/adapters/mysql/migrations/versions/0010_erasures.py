"""Erasures: what was erased of which bucket, by whom and why.

Can be run again after an interruption.
"""

from alembic import op

revision = "0010"
down_revision = "0009"

ERASURES = """
    CREATE TABLE IF NOT EXISTS erasures (
        number BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
        bucket VARCHAR(255) NOT NULL,
        kind VARCHAR(16) NOT NULL,
        target_digest BINARY(32) NOT NULL,
        requested_by VARCHAR(200) CHARACTER SET utf8mb4 NOT NULL,
        reason VARCHAR(2000) CHARACTER SET utf8mb4 NOT NULL,
        images BIGINT NULL,
        predictions BIGINT NULL,
        certificates BIGINT NULL,
        recorded_at DATETIME(6) NOT NULL,
        KEY erasures_by_bucket (bucket)
    ) ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET ascii COLLATE ascii_bin
"""


def upgrade() -> None:
    """Add the table."""
    op.execute(ERASURES)


def downgrade() -> None:
    """Drop it; what was erased stays erased, and nobody knows of it."""
    op.execute("DROP TABLE IF EXISTS erasures")
