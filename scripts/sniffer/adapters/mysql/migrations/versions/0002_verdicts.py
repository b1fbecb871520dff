"""Models: which training a version is for, and the gate's verdict on it."""

from alembic import op

from sniffer.adapters.mysql.migration_steps import has_column

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add both columns; versions registered before have neither."""
    if has_column(op.get_bind(), "models", "verdict"):
        return
    op.execute(
        """
        ALTER TABLE models
            ADD COLUMN training_digest CHAR(64) NULL,
            ADD COLUMN verdict JSON NULL,
            ADD UNIQUE KEY models_by_training (training_digest)
        """
    )


def downgrade() -> None:
    """Drop both columns, and the versions that were reserved and never exported."""
    op.execute("DELETE FROM models WHERE digest = ''")
    op.execute("ALTER TABLE models DROP KEY models_by_training, DROP COLUMN training_digest, DROP COLUMN verdict")
