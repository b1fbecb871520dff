"""Verdicts: every one that the gate ever gave, beside the one in force in `models`.

Every step can be run again after an interruption.
"""

from alembic import op

revision = "0006"
down_revision = "0005"

VERDICTS = """
    CREATE TABLE IF NOT EXISTS verdicts (
        number BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
        version INT NOT NULL,
        judged_at DATETIME(6) NOT NULL,
        verdict JSON NOT NULL,
        KEY verdicts_by_version (version)
    )
"""

# When they were given was not kept; the version was registered then, or later.
GIVEN_BEFORE = """
    INSERT INTO verdicts (version, judged_at, verdict)
    SELECT m.version, m.registered_at, m.verdict FROM models m
    WHERE m.verdict IS NOT NULL AND NOT EXISTS (SELECT 1 FROM verdicts v WHERE v.version = m.version)
    ORDER BY m.version
"""


def upgrade() -> None:
    """Add the table, with the verdicts that are in force."""
    op.execute(VERDICTS)
    op.execute(GIVEN_BEFORE)


def downgrade() -> None:
    """Drop the table; the verdicts in force stay in `models`."""
    op.execute("DROP TABLE IF EXISTS verdicts")
