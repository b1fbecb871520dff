"""`promotions.former` is `previous_stable`: the version that was stable before, as everything else calls it.

It can be run again after an interruption at any point.
"""

from alembic import op

from sniffer.adapters.mysql.migration_steps import has_column

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Rename the column."""
    _rename("former", "previous_stable")


def downgrade() -> None:
    """Rename it back."""
    _rename("previous_stable", "former")


def _rename(old: str, new: str) -> None:
    if has_column(op.get_bind(), "promotions", old):
        op.execute(f"ALTER TABLE promotions RENAME COLUMN {old} TO {new}")
