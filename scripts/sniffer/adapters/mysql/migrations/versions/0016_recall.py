"""Measured recall: how samples were drawn, and what they measured.

Can be run again after an interruption.
"""

from alembic import op

revision = "0016"
down_revision = "0015"

_SHARES = "".join(
    f"{name}_{field} DOUBLE NULL, "
    for name in ("prevalence", "recall", "precision")
    for field in ("value", "low", "high", "weighted")
)

TABLES = {
    "recall_draws": """
        scan_number BIGINT NOT NULL PRIMARY KEY,
        night DATE NOT NULL,
        bucket VARCHAR(255) NOT NULL,
        model_version INT NOT NULL,
        threshold DOUBLE NOT NULL,
        draw_key BINARY(32) NOT NULL,
        labels INT NOT NULL,
        score_height DOUBLE NOT NULL,
        score_slope DOUBLE NOT NULL,
        prior VARCHAR(200) NOT NULL,
        begun_at DATETIME(6) NOT NULL,
        scored BIGINT NULL,
        flagged BIGINT NULL,
        mean_log_odds JSON NULL,
        histogram JSON NULL,
        KEY recall_draws_by_night (model_version, night)
    """,
    "recall_figures": f"""
        night DATE NOT NULL,
        model_version INT NOT NULL,
        bucket VARCHAR(255) NOT NULL,
        slice VARCHAR(64) NOT NULL,
        threshold DOUBLE NOT NULL,
        first_night DATE NOT NULL,
        images BIGINT NOT NULL,
        flagged BIGINT NOT NULL,
        labels BIGINT NOT NULL,
        positives BIGINT NOT NULL,
        undecided BIGINT NOT NULL,
        disputed BIGINT NOT NULL,
        pairs BIGINT NOT NULL,
        {_SHARES}
        recall_at_least DOUBLE NULL,
        score_height DOUBLE NOT NULL,
        score_slope DOUBLE NOT NULL,
        method VARCHAR(64) NOT NULL,
        measured_at DATETIME(6) NOT NULL,
        PRIMARY KEY (night, model_version, bucket, slice)
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
    """Drop them; samples and decisions stay."""
    for name in TABLES:
        op.execute(f"DROP TABLE IF EXISTS {name}")
