"""Reports: the page with the figures of each model version that was judged, for the UI and for audits."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the table; versions judged before have no report in it."""
    op.execute(
        """
        CREATE TABLE IF NOT EXISTS reports (
            version INT NOT NULL PRIMARY KEY,
            page MEDIUMBLOB NOT NULL
        )
        """
    )


def downgrade() -> None:
    """Drop the table."""
    op.execute("DROP TABLE reports")
