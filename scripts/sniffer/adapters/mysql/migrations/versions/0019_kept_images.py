"""Copies of decided images in a bucket of one's own; and decisions by the bytes that they are about.

Can be run again after an interruption.
"""

from alembic import op
from sqlalchemy import inspect

revision = "0019"
down_revision = "0018"

INDEX = "review_decisions_by_content"

KEPT = """
    content_hash BINARY(32) NOT NULL PRIMARY KEY,
    bucket VARCHAR(255) NOT NULL,
    object_key VARBINARY(1024) NOT NULL,
    version_id VARCHAR(1024) NOT NULL DEFAULT '',
    size_bytes BIGINT NOT NULL DEFAULT 0,
    begun_at DATETIME(6) NOT NULL,
    kept_at DATETIME(6) NULL,
    problem VARCHAR(32) NOT NULL DEFAULT '',
    tried_number BIGINT NOT NULL DEFAULT 0
"""


def upgrade() -> None:
    """Add the table and the index."""
    op.execute(
        f"CREATE TABLE IF NOT EXISTS kept_images ({KEPT}) "
        "ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET ascii COLLATE ascii_bin"
    )
    if INDEX not in {index["name"] for index in inspect(op.get_bind()).get_indexes("review_decisions")}:
        op.execute(f"ALTER TABLE review_decisions ADD KEY {INDEX} (content_hash, decision, image_id)")


def downgrade() -> None:
    """Drop them: which copies there are is lost, the copies are not."""
    op.execute("DROP TABLE IF EXISTS kept_images")
    op.execute(f"ALTER TABLE review_decisions DROP KEY {INDEX}")
