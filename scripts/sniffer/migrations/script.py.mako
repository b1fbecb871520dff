"""${message}"""

from alembic import op  # noqa: TID251 - SQL belongs to the store and its migrations

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Apply."""
    op.execute("")


def downgrade() -> None:
    """Undo."""
    op.execute("")
