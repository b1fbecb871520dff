"""How many copies of decided images an erasure has deleted.

Can be run again after an interruption.
"""

from alembic import op

from sniffer.adapters.mysql.migration_steps import has_column

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Add the column."""
    if not has_column(op.get_bind(), "erasures", "copies"):
        op.execute("ALTER TABLE erasures ADD COLUMN copies BIGINT NULL")


def downgrade() -> None:
    """Drop it."""
    op.execute("ALTER TABLE erasures DROP COLUMN copies")
