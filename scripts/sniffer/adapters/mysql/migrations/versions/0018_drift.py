"""Drift: what the tests of each bucket's newest night said. And the chance of each stratum's images of being drawn,
which is not its drawn share any more where several scans are drawn from together.

Can be run again after an interruption.
"""

from alembic import op

from sniffer.adapters.mysql.migration_steps import has_column

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Add the table and the column. What is there was drawn of each scan on its own: its chance is its drawn share."""
    op.execute(
        """
        CREATE TABLE IF NOT EXISTS drift_tests (
            model_version INT NOT NULL,
            threshold DOUBLE NOT NULL,
            bucket VARCHAR(255) NOT NULL,
            kind VARCHAR(64) NOT NULL,
            night DATE NOT NULL,
            value DOUBLE NOT NULL,
            usual DOUBLE NULL,
            p_value DOUBLE NULL,
            alarm_below DOUBLE NOT NULL,
            nights INT NOT NULL,
            tested_at DATETIME(6) NOT NULL,
            PRIMARY KEY (model_version, threshold, bucket, kind, night)
        ) ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET ascii COLLATE ascii_bin
        """
    )
    if not has_column(op.get_bind(), "review_sample_strata", "probability"):
        op.execute("ALTER TABLE review_sample_strata ADD COLUMN probability DOUBLE NULL")
    op.execute(
        "UPDATE review_sample_strata SET probability = drawn / population WHERE probability IS NULL AND population > 0"
    )


def downgrade() -> None:
    """Drop them; samples stay."""
    op.execute("DROP TABLE IF EXISTS drift_tests")
    op.execute("ALTER TABLE review_sample_strata DROP COLUMN probability")
