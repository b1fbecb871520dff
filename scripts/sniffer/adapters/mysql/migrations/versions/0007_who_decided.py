"""Who decided: who asked for a change of the stable version, who approved it, and why.

Every step looks first whether it is done, so that the migration can be run again after an interruption at any point.
"""

from alembic import op

from sniffer.adapters.mysql.migration_steps import has_column

revision = "0007"
down_revision = "0006"

MODELS = """
    ALTER TABLE models
        ADD COLUMN requested_by VARCHAR(200) CHARACTER SET utf8mb4 NULL,
        ADD COLUMN approved_by VARCHAR(200) CHARACTER SET utf8mb4 NULL,
        ADD COLUMN approval_reason VARCHAR(2000) CHARACTER SET utf8mb4 NULL
"""

PROMOTIONS = """
    CREATE TABLE IF NOT EXISTS promotions (
        number BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
        version INT NOT NULL,
        former INT NULL,
        promoted_at DATETIME(6) NOT NULL,
        requested_by VARCHAR(200) CHARACTER SET utf8mb4 NULL,
        approved_by VARCHAR(200) CHARACTER SET utf8mb4 NULL,
        approval_reason VARCHAR(2000) CHARACTER SET utf8mb4 NULL,
        KEY promotions_by_version (version)
    ) ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET ascii COLLATE ascii_bin
"""


def upgrade() -> None:
    """Add the columns and the table. What was decided before was not kept."""
    if not has_column(op.get_bind(), "models", "requested_by"):
        op.execute(MODELS)
    op.execute(PROMOTIONS)


def downgrade() -> None:
    """Drop both; who decided is lost."""
    op.execute("DROP TABLE IF EXISTS promotions")
    if has_column(op.get_bind(), "models", "requested_by"):
        op.execute("ALTER TABLE models DROP COLUMN requested_by, DROP COLUMN approved_by, DROP COLUMN approval_reason")
