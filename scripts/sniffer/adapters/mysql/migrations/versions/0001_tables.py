"""Tables models, scans, images, predictions and the view flagged_images, for MySQL 8.4 and MariaDB 10.11."""

from alembic import op

revision = "0001"
down_revision = None

TABLES = (
    """
    CREATE TABLE IF NOT EXISTS models (
        version INT NOT NULL PRIMARY KEY,
        digest CHAR(64) NOT NULL,
        backbone_digest CHAR(64) NOT NULL,
        preprocessing_version VARCHAR(64) NOT NULL,
        threshold DOUBLE NOT NULL,
        metrics JSON NOT NULL,
        status VARCHAR(16) NOT NULL,
        registered_at DATETIME(6) NOT NULL,
        CHECK (status IN ('candidate', 'blessed', 'rejected', 'stable', 'previous')),
        CHECK (threshold BETWEEN 0 AND 1)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS scans (
        scan_id VARCHAR(120) NOT NULL PRIMARY KEY,
        bucket VARCHAR(255) NOT NULL,
        prefix VARBINARY(1024) NOT NULL,
        window_since DATETIME(6) NULL,
        window_until DATETIME(6) NULL,
        model_version INT NOT NULL,
        dag_run VARCHAR(255) CHARACTER SET utf8mb4 NULL,
        request JSON NOT NULL,
        state VARCHAR(16) NOT NULL,
        listed BIGINT NOT NULL DEFAULT 0,
        unchanged BIGINT NOT NULL DEFAULT 0,
        predicted BIGINT NOT NULL DEFAULT 0,
        reused BIGINT NOT NULL DEFAULT 0,
        unreadable BIGINT NOT NULL DEFAULT 0,
        gone BIGINT NOT NULL DEFAULT 0,
        failed BIGINT NOT NULL DEFAULT 0,
        images_per_s DOUBLE NULL,
        certificate JSON NULL,
        started_at DATETIME(6) NOT NULL,
        finished_at DATETIME(6) NULL,
        KEY scans_by_bucket (bucket, started_at),
        KEY scans_by_end (finished_at),
        CHECK (state IN ('running', 'complete', 'incomplete'))
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS images (
        image_id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
        identity BINARY(32) NOT NULL,
        bucket VARCHAR(255) NOT NULL,
        object_key VARBINARY(1024) NOT NULL,
        etag VARCHAR(255) NOT NULL,
        size_bytes BIGINT NOT NULL,
        last_modified DATETIME(6) NOT NULL,
        content_hash BINARY(32) NULL,
        UNIQUE KEY images_by_identity (identity),
        KEY images_by_content (content_hash),
        KEY images_by_key (bucket, object_key)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS predictions (
        image_id BIGINT NOT NULL,
        model_version INT NOT NULL,
        scan_id VARCHAR(120) NOT NULL,
        outcome VARCHAR(16) NOT NULL,
        score DOUBLE NULL,
        scored_hash BINARY(32) NULL,
        error_code VARCHAR(64) NULL,
        error_message VARCHAR(500) CHARACTER SET utf8mb4 NULL,
        scored_at DATETIME(6) NOT NULL,
        PRIMARY KEY (image_id, model_version),
        KEY predictions_by_scan (scan_id, outcome),
        KEY predictions_by_score (model_version, score),
        KEY predictions_by_scored_hash (model_version, scored_hash),
        CONSTRAINT predictions_image FOREIGN KEY (image_id) REFERENCES images (image_id) ON DELETE CASCADE,
        CONSTRAINT predictions_model FOREIGN KEY (model_version) REFERENCES models (version),
        CHECK (outcome IN ('predicted', 'reused', 'unreadable', 'gone', 'failed')),
        CHECK ((outcome IN ('predicted', 'reused')) = (score IS NOT NULL))
    )
    """,
)

VIEW = """
    CREATE OR REPLACE VIEW flagged_images AS
    SELECT i.image_id, i.bucket, CONVERT(i.object_key USING utf8mb4) AS object_key, i.etag, i.last_modified,
           p.model_version, p.score, m.threshold, p.outcome, p.scan_id, p.scored_at
    FROM predictions p
    JOIN models m ON m.version = p.model_version
    JOIN images i ON i.image_id = p.image_id
    WHERE p.score >= m.threshold
"""


def upgrade() -> None:
    """Create the tables, then the view."""
    for table in TABLES:
        # ASCII where only ASCII can stand; text columns that people write in say utf8mb4 themselves.
        op.execute(f"{table} ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET ascii COLLATE ascii_bin")
    op.execute(VIEW)


def downgrade() -> None:
    """Drop everything, children first."""
    op.execute("DROP VIEW flagged_images")
    for table in ("predictions", "images", "scans", "models"):
        op.execute(f"DROP TABLE {table}")
