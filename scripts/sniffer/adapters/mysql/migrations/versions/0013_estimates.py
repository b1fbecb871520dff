"""Estimates: what the scan of a whole bucket was taken to cost, and who approved it.

Can be run again after an interruption.
"""

from alembic import op

revision = "0013"
down_revision = "0012"

ESTIMATES = """
    CREATE TABLE IF NOT EXISTS estimates (
        scan_number BIGINT NOT NULL PRIMARY KEY,
        digest CHAR(64) NOT NULL,
        estimate JSON NOT NULL,
        estimated_at DATETIME(6) NOT NULL,
        approved_by VARCHAR(200) CHARACTER SET utf8mb4 NULL,
        approval_reason VARCHAR(2000) CHARACTER SET utf8mb4 NULL,
        approved_at DATETIME(6) NULL
    ) ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET ascii COLLATE ascii_bin
"""


def upgrade() -> None:
    """Add the table."""
    op.execute(ESTIMATES)


def downgrade() -> None:
    """Drop it; plans and scans stay."""
    op.execute("DROP TABLE IF EXISTS estimates")
