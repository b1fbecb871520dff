"""Model versions: what a rollout made of one, in a column of its own, so that who judges cannot put it into production.

`status`, which everybody reads, follows from both. Can be run again after an interruption.
"""

from alembic import op
from sqlalchemy import text

from sniffer.adapters.mysql.migration_steps import has_column

revision = "0021"
down_revision = "0020"

ADDED = """
    ALTER TABLE models
        ADD COLUMN judged VARCHAR(16) NOT NULL DEFAULT 'candidate' AFTER status,
        ADD COLUMN production VARCHAR(16) NULL AFTER judged
"""
# What was put into production had been blessed: nothing else was.
FILLED = """
    UPDATE models SET
        production = CASE WHEN status IN ('stable', 'previous') THEN status END,
        judged = CASE WHEN status IN ('stable', 'previous') THEN 'blessed' ELSE status END
"""
# Rights are by column, not by value: without the checks whoever may write `judged` could write `stable` there.
FOLLOWS = """
    ALTER TABLE models
        {without_checks}
        DROP COLUMN status,
        MODIFY COLUMN judged VARCHAR(16) NOT NULL,
        ADD COLUMN status VARCHAR(16) GENERATED ALWAYS AS (COALESCE(production, judged)) VIRTUAL AFTER production,
        ADD CONSTRAINT models_judged CHECK (judged IN ('candidate', 'blessed', 'rejected')),
        ADD CONSTRAINT models_production CHECK (production IN ('stable', 'previous'))
"""


def upgrade() -> None:
    """Split the column; the last statement is the one that makes `status` follow, all at once."""
    if not has_column(op.get_bind(), "models", "production"):
        op.execute(ADDED)
    if not _follows():
        op.execute(FILLED)
        op.execute(FOLLOWS.format(without_checks="".join(f"DROP CONSTRAINT {name}, " for name in _status_checks())))


def downgrade() -> None:
    """Join the two."""
    op.execute(
        "ALTER TABLE models DROP CONSTRAINT models_judged, DROP CONSTRAINT models_production, DROP COLUMN status"
    )
    op.execute("UPDATE models SET judged = production WHERE production IS NOT NULL")
    op.execute(
        "ALTER TABLE models DROP COLUMN production, CHANGE COLUMN judged status VARCHAR(16) NOT NULL, "
        "ADD CHECK (status IN ('candidate', 'blessed', 'rejected', 'stable', 'previous'))"
    )


def _follows() -> bool:
    query = (
        "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'models' "
        "AND column_name = 'status' AND generation_expression <> ''"
    )
    return bool(op.get_bind().execute(text(query)).scalar())


def _status_checks() -> list[str]:
    """The names of the CHECK of the statuses, which each server made up in its own way."""
    query = (
        "SELECT t.constraint_name FROM information_schema.table_constraints t "
        "JOIN information_schema.check_constraints c "
        "ON c.constraint_schema = t.constraint_schema AND c.constraint_name = t.constraint_name "
        "WHERE t.table_schema = DATABASE() AND t.table_name = 'models' AND t.constraint_type = 'CHECK' "
        "AND c.check_clause LIKE '%previous%'"
    )
    return list(op.get_bind().execute(text(query)).scalars())
