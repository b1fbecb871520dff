"""Models: a version is for a candidate, which is a training at its operating point, not for a training alone."""

from alembic import op

from sniffer.adapters.mysql.migration_steps import has_column

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Rename the column. What it held named trainings: a model that is not exported yet has to be judged again."""
    _rename("training_digest", "models_by_training", "candidate_digest", "models_by_candidate")


def downgrade() -> None:
    """Rename it back; what it held named candidates."""
    _rename("candidate_digest", "models_by_candidate", "training_digest", "models_by_training")


def _rename(column: str, key: str, to_column: str, to_key: str) -> None:
    if has_column(op.get_bind(), "models", to_column):
        return
    op.execute(f"UPDATE models SET {column} = NULL")
    op.execute(
        f"""
        ALTER TABLE models
            DROP KEY {key},
            CHANGE COLUMN {column} {to_column} CHAR(64) NULL,
            ADD UNIQUE KEY {to_key} ({to_column})
        """
    )
