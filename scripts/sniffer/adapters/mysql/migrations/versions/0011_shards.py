"""Shards: into which ranges of keys a scan was cut.

Can be run again after an interruption.
"""

from alembic import op

revision = "0011"
down_revision = "0010"

SHARDS = """
    CREATE TABLE IF NOT EXISTS shards (
        scan_number BIGINT NOT NULL,
        shard INT NOT NULL,
        part INT NOT NULL,
        after_key VARBINARY(1024) NOT NULL,
        up_to_key VARBINARY(1024) NULL,
        planned_keys BIGINT NOT NULL,
        part_scan_id VARCHAR(120) NOT NULL,
        planned_at DATETIME(6) NOT NULL,
        PRIMARY KEY (scan_number, shard, part),
        UNIQUE KEY shards_by_scan_id (part_scan_id)
    ) ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET ascii COLLATE ascii_bin
"""


def upgrade() -> None:
    """Add the table."""
    op.execute(SHARDS)


def downgrade() -> None:
    """Drop it; the shards' own scans stay."""
    op.execute("DROP TABLE IF EXISTS shards")
