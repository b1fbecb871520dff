"""Accounts of the review page: who may sign in, who has, who looked at what, and the log of what was done.

Can be run again after an interruption.
"""

from alembic import op

revision = "0017"
down_revision = "0016"

_PERSON = "VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"

TABLES = {
    "review_accounts": f"""
        name {_PERSON} NOT NULL PRIMARY KEY,
        password_hash VARCHAR(255) NULL,
        role VARCHAR(16) NOT NULL,
        is_disabled BOOL NOT NULL DEFAULT FALSE,
        created_at DATETIME(6) NOT NULL,
        oidc_subject VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
        UNIQUE KEY review_accounts_by_subject (oidc_subject),
        CONSTRAINT review_accounts_role CHECK (role IN ('reviewer', 'lead', 'auditor'))
    """,
    "review_sessions": f"""
        token_digest BINARY(32) NOT NULL PRIMARY KEY,
        name {_PERSON} NOT NULL,
        csrf VARCHAR(64) NOT NULL,
        created_at DATETIME(6) NOT NULL,
        last_seen DATETIME(6) NOT NULL,
        expires_at DATETIME(6) NOT NULL,
        KEY review_sessions_by_name (name),
        KEY review_sessions_by_end (expires_at)
    """,
    "review_oidc_logins": """
        state_digest BINARY(32) NOT NULL PRIMARY KEY,
        nonce VARCHAR(64) NOT NULL,
        verifier VARCHAR(128) NOT NULL,
        expires_at DATETIME(6) NOT NULL,
        KEY review_oidc_logins_by_end (expires_at)
    """,
    "review_attempts": """
        key_digest BINARY(32) NOT NULL PRIMARY KEY,
        failures INT NOT NULL,
        window_start DATETIME(6) NOT NULL,
        KEY review_attempts_by_start (window_start)
    """,
    "review_looks": f"""
        number BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
        image_id BIGINT NOT NULL,
        who {_PERSON} NOT NULL,
        kind VARCHAR(16) NOT NULL,
        looked_at DATETIME(6) NOT NULL,
        KEY review_looks_by_image (image_id, who),
        KEY review_looks_by_person (who, looked_at),
        CONSTRAINT review_looks_kind CHECK (kind IN ('unblurred', 'original'))
    """,
    "review_log": f"""
        number BIGINT NOT NULL PRIMARY KEY,
        logged_at DATETIME(6) NOT NULL,
        who {_PERSON} NOT NULL,
        action VARCHAR(64) NOT NULL,
        subject VARCHAR(500) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        details TEXT NOT NULL,
        previous_hash BINARY(32) NOT NULL,
        hash BINARY(32) NOT NULL
    """,
    "review_log_head": """
        singleton INT NOT NULL PRIMARY KEY,
        number BIGINT NOT NULL,
        hash BINARY(32) NOT NULL,
        CONSTRAINT review_log_head_singleton CHECK (singleton = 1)
    """,
}


def upgrade() -> None:
    """Add the tables, and the head of an empty log."""
    for name, columns in TABLES.items():
        op.execute(
            f"CREATE TABLE IF NOT EXISTS {name} ({columns}) "
            "ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET ascii COLLATE ascii_bin"
        )
    op.execute(
        "INSERT INTO review_log_head (singleton, number, hash) SELECT 1, 0, REPEAT(CHAR(0), 32) "
        "WHERE NOT EXISTS (SELECT 1 FROM review_log_head) AND NOT EXISTS (SELECT 1 FROM review_log)"
    )


def downgrade() -> None:
    """Drop them, with all accounts and the log."""
    for name in TABLES:
        op.execute(f"DROP TABLE IF EXISTS {name}")
