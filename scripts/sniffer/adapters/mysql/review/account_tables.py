"""The tables of the review page's accounts and of its log, beside those in `schema`."""

from __future__ import annotations

from sqlalchemy import BINARY, BigInteger, Boolean, Column, Integer, String, Table, Text
from sqlalchemy.dialects.mysql import DATETIME

from sniffer.adapters.mysql.schema import metadata

review_accounts = Table(
    "review_accounts",
    metadata,
    Column("name", String(200), primary_key=True, doc="as decisions name their reviewer"),
    Column("password_hash", String(255), doc="argon2id's; empty: signs in by OpenID Connect alone"),
    Column("role", String(16), doc="`reviewer`, `lead` or `auditor`"),
    Column("is_disabled", Boolean, doc="may not sign in, and no session of it counts"),
    Column("created_at", DATETIME(fsp=6), doc="UTC"),
    Column("oidc_subject", String(255), unique=True, doc="the provider's address and its name for the person"),
    info={"doc": "Who may use the review page. Accounts are disabled, not deleted: decisions name them."},
)

review_sessions = Table(
    "review_sessions",
    metadata,
    Column("token_digest", BINARY(32), primary_key=True, doc="SHA-256 of the cookie's token, which is not kept"),
    Column("name", String(200), doc="as in `review_accounts`"),
    Column("csrf", String(64), doc="what the forms of this session carry"),
    Column("created_at", DATETIME(fsp=6), doc="UTC"),
    Column("last_seen", DATETIME(fsp=6), doc="UTC, to the minute"),
    Column("expires_at", DATETIME(fsp=6), doc="UTC; also what is used all the time ends then"),
    info={"doc": "Who is signed in to the review page."},
)

review_oidc_logins = Table(
    "review_oidc_logins",
    metadata,
    Column("state_digest", BINARY(32), primary_key=True, doc="SHA-256 of the state that was sent to the provider"),
    Column("nonce", String(64), doc="what the provider's token must repeat"),
    Column("verifier", String(128), doc="PKCE's, for which the provider has only seen a digest"),
    Column("expires_at", DATETIME(fsp=6), doc="UTC"),
    info={"doc": "Sign-ins by OpenID Connect that are under way. A row goes when its answer comes."},
)

review_attempts = Table(
    "review_attempts",
    metadata,
    Column("key_digest", BINARY(32), primary_key=True, doc="SHA-256 of a name, an address, or both"),
    Column("failures", Integer, doc="since `window_start`"),
    Column("window_start", DATETIME(fsp=6), doc="UTC"),
    info={"doc": "Failed sign-ins, by which further ones are refused for a while."},
)

review_looks = Table(
    "review_looks",
    metadata,
    Column("number", BigInteger, primary_key=True, doc="counts up"),
    Column("image_id", BigInteger, doc="as in `images`"),
    Column("who", String(200), doc="as in `review_accounts`"),
    Column("kind", String(16), doc="`unblurred`: the small picture without its blur; `original`: the object itself"),
    Column("looked_at", DATETIME(fsp=6), doc="UTC"),
    info={"doc": "Who has asked to see which image more clearly than blurred: rows are only added."},
)

review_log = Table(
    "review_log",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False, doc="counts up from 1, without gaps"),
    Column("logged_at", DATETIME(fsp=6), doc="UTC"),
    Column("who", String(200), doc="the account; empty: nobody is known"),
    Column("action", String(64), doc="what was done"),
    Column("subject", String(500), doc="to what"),
    Column("details", Text, doc="more of it, as JSON"),
    Column("previous_hash", BINARY(32), doc="the hash of the entry before"),
    Column("hash", BINARY(32), doc="SHA-256 of this entry and of `previous_hash`"),
    info={
        "doc": "What was done in the review page: rows are only added, each chained to the one before it. "
        "`sniffer review verify-log` checks the chain."
    },
)

review_log_head = Table(
    "review_log_head",
    metadata,
    Column("singleton", Integer, primary_key=True, autoincrement=False, doc="always 1"),
    Column("number", BigInteger, doc="of the newest entry of `review_log`"),
    Column("hash", BINARY(32), doc="its hash"),
    info={"doc": "Where the log ends. Whoever adds an entry locks this row, so entries never fork."},
)
