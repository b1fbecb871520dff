"""Review: what waits for reviewers, who holds it, what was decided; random samples; hashes of near-duplicates.

Can be run again after an interruption.
"""

from alembic import op

revision = "0014"
down_revision = "0013"

_PERSON = "VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
_OF_IMAGE = "FOREIGN KEY (image_id) REFERENCES images (image_id) ON DELETE CASCADE"

TABLES = {
    "review_decisions": f"""
        number BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
        image_id BIGINT NOT NULL,
        content_hash BINARY(32) NULL,
        decision VARCHAR(16) NOT NULL,
        reason VARCHAR(32) NOT NULL DEFAULT '',
        note VARCHAR(2000) CHARACTER SET utf8mb4 NOT NULL DEFAULT '',
        reviewer {_PERSON} NOT NULL,
        decided_at DATETIME(6) NOT NULL,
        model_version INT NOT NULL,
        score DOUBLE NULL,
        threshold DOUBLE NULL,
        entered_by VARCHAR(16) NOT NULL,
        probability DOUBLE NOT NULL,
        batch CHAR(32) NOT NULL DEFAULT '',
        replaces BIGINT NULL,
        was_replaced BOOL NOT NULL DEFAULT FALSE,
        was_unblurred BOOL NOT NULL DEFAULT FALSE,
        submit_key VARCHAR(64) NOT NULL,
        UNIQUE KEY review_decisions_by_submit (submit_key, image_id),
        UNIQUE KEY review_decisions_by_replaced (replaces),
        KEY review_decisions_by_image (image_id, number),
        KEY review_decisions_by_time (decided_at),
        KEY review_decisions_by_entry (entered_by, decided_at),
        KEY review_decisions_by_reviewer (reviewer, number),
        CONSTRAINT review_decisions_image {_OF_IMAGE},
        CONSTRAINT review_decisions_decision CHECK (decision IN ('drug', 'not_drug', 'unsure', 'withdrawn')),
        CONSTRAINT review_decisions_reason CHECK ((decision = 'drug') = (reason <> '')),
        CONSTRAINT review_decisions_entered
            CHECK (entered_by IN ('flagged', 'sample', 'second', 'appeal', 'import')),
        CONSTRAINT review_decisions_probability CHECK (probability > 0 AND probability <= 1)
    """,
    "review_queue": f"""
        image_id BIGINT NOT NULL PRIMARY KEY,
        is_for_lead BOOL NOT NULL DEFAULT FALSE,
        entered_by VARCHAR(16) NOT NULL,
        decided_by {_PERSON} NOT NULL DEFAULT '',
        model_version INT NOT NULL,
        place DOUBLE NOT NULL,
        probability DOUBLE NOT NULL,
        bucket VARCHAR(255) NOT NULL,
        entered_at DATETIME(6) NOT NULL,
        KEY review_queue_by_place (is_for_lead, place, image_id),
        KEY review_queue_by_bucket (is_for_lead, bucket, place, image_id),
        CONSTRAINT review_queue_image {_OF_IMAGE}
    """,
    "review_leases": f"""
        image_id BIGINT NOT NULL PRIMARY KEY,
        reviewer {_PERSON} NOT NULL,
        lease_until DATETIME(6) NOT NULL,
        entered_by VARCHAR(16) NOT NULL,
        model_version INT NOT NULL,
        score DOUBLE NULL,
        threshold DOUBLE NULL,
        probability DOUBLE NOT NULL,
        KEY review_leases_by_reviewer (reviewer, lease_until),
        CONSTRAINT review_leases_image {_OF_IMAGE}
    """,
    "review_samples": f"""
        number BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
        night DATE NOT NULL,
        scan_number BIGINT NOT NULL,
        image_id BIGINT NOT NULL,
        model_version INT NOT NULL,
        score DOUBLE NOT NULL,
        stratum SMALLINT NOT NULL,
        probability DOUBLE NOT NULL,
        drawn_at DATETIME(6) NOT NULL,
        UNIQUE KEY review_samples_by_night (night, scan_number, image_id),
        KEY review_samples_by_image (image_id),
        CONSTRAINT review_samples_image {_OF_IMAGE},
        CONSTRAINT review_samples_probability CHECK (probability > 0 AND probability <= 1)
    """,
    "review_sample_strata": """
        night DATE NOT NULL,
        scan_number BIGINT NOT NULL,
        stratum SMALLINT NOT NULL,
        low DOUBLE NOT NULL,
        high DOUBLE NOT NULL,
        population BIGINT NOT NULL,
        drawn BIGINT NOT NULL,
        PRIMARY KEY (night, scan_number, stratum)
    """,
    "near_duplicates": f"""
        image_id BIGINT NOT NULL PRIMARY KEY,
        perceptual_hash BINARY(8) NOT NULL,
        part_1 SMALLINT UNSIGNED NOT NULL,
        part_2 SMALLINT UNSIGNED NOT NULL,
        part_3 SMALLINT UNSIGNED NOT NULL,
        part_4 SMALLINT UNSIGNED NOT NULL,
        computed_at DATETIME(6) NOT NULL,
        KEY near_duplicates_by_part_1 (part_1, image_id),
        KEY near_duplicates_by_part_2 (part_2, image_id),
        KEY near_duplicates_by_part_3 (part_3, image_id),
        KEY near_duplicates_by_part_4 (part_4, image_id),
        CONSTRAINT near_duplicates_image {_OF_IMAGE}
    """,
}


def upgrade() -> None:
    """Add the tables."""
    for name, columns in TABLES.items():
        op.execute(
            f"CREATE TABLE IF NOT EXISTS {name} ({columns}) "
            "ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET ascii COLLATE ascii_bin"
        )


def downgrade() -> None:
    """Drop them, and every decision with them."""
    for name in TABLES:
        op.execute(f"DROP TABLE IF EXISTS {name}")
