"""Beside a report, small pictures of the test images that its model decides differently from the stable one.

It can be run again after an interruption at any point.
"""

from alembic import op

from sniffer.adapters.mysql.migration_steps import has_column

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the column; versions judged before have no pictures in it."""
    if not has_column(op.get_bind(), "reports", "changed_images"):
        op.execute("ALTER TABLE reports ADD COLUMN changed_images MEDIUMBLOB NULL")


def downgrade() -> None:
    """Drop the column, and the pictures with it."""
    if has_column(op.get_bind(), "reports", "changed_images"):
        op.execute("ALTER TABLE reports DROP COLUMN changed_images")
