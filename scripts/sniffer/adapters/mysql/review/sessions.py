"""MySQL: who is signed in to the review page, who is signing in, and who has failed to. One transaction a method."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, select, text, update
from sqlalchemy.dialects.mysql import insert

from sniffer.adapters.mysql.review.account_tables import (
    review_accounts,
    review_attempts,
    review_oidc_logins,
    review_sessions,
)
from sniffer.adapters.mysql.transactions import Transactions, utc_now
from sniffer.core.review_accounts import OidcLogin, ReviewRole, ReviewSession

SESSION_H = 12
"""How long a session lasts, whatever is done in it: a shift."""
IDLE_MIN = 60
"""How long it lasts without a request. An open review page makes one every minute or so."""
_SEEN_GRAIN_S = 60
_OIDC_LOGIN_MIN = 10


class ReviewSessions:
    """Sessions. A token is kept as its digest: whoever reads the table cannot use it."""

    def __init__(self, transactions: Transactions) -> None:
        self._transact = transactions.transact

    def open(self, token: str, name: str, csrf: str) -> None:
        """Somebody has signed in. Ended sessions are cleared away."""
        now = utc_now()
        row = {
            "token_digest": digest(token),
            "name": name,
            "csrf": csrf,
            "created_at": now,
            "last_seen": now,
            "expires_at": now + timedelta(hours=SESSION_H),
        }

        def open_session(connection: Connection) -> None:
            for table in (review_sessions, review_oidc_logins):
                connection.execute(delete(table).where(table.c.expires_at < now))
            connection.execute(insert(review_sessions).values(row).prefix_with("IGNORE"))

        self._transact(open_session)

    def of_token(self, token: str) -> ReviewSession | None:
        """Whose token that is now; None for one that has ended, of a disabled account, or that nobody was given."""
        now = utc_now()
        ours = review_sessions.c.token_digest == digest(token)
        query = (
            select(review_sessions.c.name, review_sessions.c.csrf, review_sessions.c.last_seen, review_accounts.c.role)
            .join_from(review_sessions, review_accounts, review_accounts.c.name == review_sessions.c.name)
            .where(
                ours,
                review_sessions.c.expires_at > now,
                review_sessions.c.last_seen > now - timedelta(minutes=IDLE_MIN),
                review_accounts.c.is_disabled.is_(False),
            )
        )

        def find(connection: Connection) -> Any:
            row = connection.execute(query).first()
            if row is not None and (now - row.last_seen).total_seconds() > _SEEN_GRAIN_S:
                connection.execute(update(review_sessions).where(ours).values(last_seen=now))
            return row

        row = self._transact(find)
        return None if row is None else ReviewSession(row.name, ReviewRole(row.role), row.csrf)

    def end(self, token: str) -> None:
        """Sign out. Idempotent."""
        ended = delete(review_sessions).where(review_sessions.c.token_digest == digest(token))
        self._transact(lambda connection: connection.execute(ended))

    def begin_oidc(self, state: str, login: OidcLogin) -> None:
        """Somebody was sent to the provider."""
        row = {
            "state_digest": digest(state),
            "nonce": login.nonce,
            "verifier": login.verifier,
            "expires_at": utc_now() + timedelta(minutes=_OIDC_LOGIN_MIN),
        }
        self._transact(lambda connection: connection.execute(insert(review_oidc_logins).values(row)))

    def take_oidc(self, state: str) -> OidcLogin | None:
        """What belongs to the state that has come back: once, and not for long."""
        ours = review_oidc_logins.c.state_digest == digest(state)
        query = select(review_oidc_logins).where(ours, review_oidc_logins.c.expires_at > utc_now()).with_for_update()

        def take(connection: Connection) -> OidcLogin | None:
            row = connection.execute(query).first()
            connection.execute(delete(review_oidc_logins).where(ours))
            return None if row is None else OidcLogin(row.nonce, row.verifier)

        return self._transact(take)

    def count_attempt(self, keys: dict[str, int], window_s: float) -> bool:
        """Count a try to sign in for each of these keys; whether all of them are within their limits.

        A try is counted before its password is looked at, so that many at once cannot slip through together.
        """
        now = utc_now()
        start = now - timedelta(seconds=window_s)

        def count(connection: Connection) -> bool:
            is_within = True
            for key, limit in sorted(keys.items(), key=lambda pair: digest(pair[0])):
                row = insert(review_attempts).values(key_digest=digest(key), failures=1, window_start=now)
                is_old = review_attempts.c.window_start < start
                # Set from left to right: the number looks at the old start.
                counted = row.on_duplicate_key_update(
                    [
                        ("failures", func.if_(is_old, 1, review_attempts.c.failures + 1)),
                        ("window_start", func.if_(is_old, now, review_attempts.c.window_start)),
                    ]
                )
                connection.execute(counted)
                found = select(review_attempts.c.failures).where(review_attempts.c.key_digest == digest(key))
                is_within &= connection.execute(found).scalar_one() <= limit
            connection.execute(
                text("DELETE FROM review_attempts WHERE window_start < :start ORDER BY window_start LIMIT 100"),
                {"start": start},
            )
            return is_within

        return self._transact(count)

    def forget_attempts(self, keys: list[str]) -> None:
        """The password was right."""
        gone = delete(review_attempts).where(review_attempts.c.key_digest.in_([digest(key) for key in keys]))
        self._transact(lambda connection: connection.execute(gone))


def digest(text_: str) -> bytes:
    """SHA-256 of a token, which is random and long: nothing slower is needed."""
    return hashlib.sha256(text_.encode(errors="surrogatepass")).digest()
