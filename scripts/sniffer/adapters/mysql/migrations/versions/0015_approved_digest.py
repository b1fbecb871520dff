"""Estimates: which digest was approved, so that nobody who may write an estimate can write its approval.

Can be run again after an interruption.
"""

from alembic import op

from sniffer.adapters.mysql.migration_steps import has_column

revision = "0015"
down_revision = "0014"

# Until now a new estimate took the approval of the one before it away, so what is there is of this digest.
APPROVED = "UPDATE estimates SET approved_digest = digest WHERE approved_at IS NOT NULL AND approved_digest IS NULL"


def upgrade() -> None:
    """Add the column, and fill it for what was approved."""
    if not has_column(op.get_bind(), "estimates", "approved_digest"):
        op.execute("ALTER TABLE estimates ADD COLUMN approved_digest CHAR(64) NULL AFTER estimated_at")
    op.execute(APPROVED)


def downgrade() -> None:
    """Drop it; an approval of an earlier estimate than that of its row goes first."""
    op.execute(
        "UPDATE estimates SET approved_by = NULL, approval_reason = NULL, approved_at = NULL "
        "WHERE approved_digest IS NULL OR approved_digest <> digest"
    )
    op.execute("ALTER TABLE estimates DROP COLUMN approved_digest")
