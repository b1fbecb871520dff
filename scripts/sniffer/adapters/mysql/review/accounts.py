"""MySQL: the review page's accounts. Every method is one transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, delete, select, update
from sqlalchemy.dialects.mysql import insert as mysql_insert

from sniffer.adapters.mysql.review.account_tables import review_accounts, review_sessions
from sniffer.adapters.mysql.transactions import Transactions, utc_now
from sniffer.core.errors import SettingsError
from sniffer.core.review_accounts import ReviewAccount, ReviewRole, account_name


class ReviewAccounts:
    """Accounts. Whatever takes a right away also ends the account's sessions."""

    def __init__(self, transactions: Transactions) -> None:
        self._transact = transactions.transact

    def get(self, name: str) -> ReviewAccount | None:
        """The account with that name, letter by letter."""
        return self._one(review_accounts.c.name == name)

    def all(self) -> list[ReviewAccount]:
        """All accounts by name."""
        query = select(review_accounts).order_by(review_accounts.c.name)
        return [_account(row) for row in self._transact(lambda connection: connection.execute(query).all())]

    def add(self, name: str, role: ReviewRole, password_hash: str | None) -> None:
        """A new account; SettingsError when there is one of that name."""
        values: dict[str, Any] = {
            "name": account_name(name),
            "role": str(role),
            "password_hash": password_hash,
            "is_disabled": False,
            "created_at": utc_now(),
        }
        added = mysql_insert(review_accounts).values(values).prefix_with("IGNORE")
        if not self._transact(lambda connection: connection.execute(added).rowcount):
            raise SettingsError(f"there is an account {name} already: `sniffer review account role` changes its role")

    def set_password(self, name: str, password_hash: str) -> None:
        """A new password; ends the account's sessions."""
        self._change(name, password_hash=password_hash)

    def set_role(self, name: str, role: ReviewRole) -> None:
        """A new role, and the sessions end, too: a page that is open shows what the old one may."""
        self._change(name, role=str(role))

    def disable(self, name: str) -> None:
        """Nobody signs in with it any more."""
        self._change(name, is_disabled=True)

    def enable(self, name: str) -> None:
        """It may sign in again."""
        self._change(name, is_disabled=False)

    def of_subject(self, subject: str, name: str, role: ReviewRole) -> ReviewAccount:
        """The account of a person whom the provider knows, made at the first time, with the role that it has now.

        SettingsError when a local account, or another person, has that name.
        """
        if (found := self._one(review_accounts.c.oidc_subject == subject)) is not None:
            if found.role is not role:
                self._change(found.name, role=str(role))
            return self._one(review_accounts.c.oidc_subject == subject) or found
        values: dict[str, Any] = {
            "name": account_name(name),
            "role": str(role),
            "is_disabled": False,
            "created_at": utc_now(),
            "oidc_subject": subject,
        }
        self._transact(lambda c: c.execute(mysql_insert(review_accounts).values(values).prefix_with("IGNORE")))
        made = self._one(review_accounts.c.oidc_subject == subject)
        if made is None:
            raise SettingsError(
                f"the name {name} belongs to another account of the review page: a lead must sort it out"
            )
        return made

    def _one(self, condition: Any) -> ReviewAccount | None:
        query = select(review_accounts).where(condition)
        row = self._transact(lambda connection: connection.execute(query).first())
        return None if row is None else _account(row)

    def _change(self, name: str, **values: object) -> None:
        known = select(review_accounts.c.name).where(review_accounts.c.name == name).with_for_update()
        changed = update(review_accounts).where(review_accounts.c.name == name).values(**values)
        ended = delete(review_sessions).where(review_sessions.c.name == name)

        def change(connection: Any) -> bool:
            if connection.execute(known).first() is None:
                return False
            connection.execute(changed)
            connection.execute(ended)
            return True

        if not self._transact(change):
            raise SettingsError(f"there is no account {name}: `sniffer review account list` shows which there are")


def _account(row: Row[Any]) -> ReviewAccount:
    return ReviewAccount(row.name, ReviewRole(row.role), bool(row.is_disabled), row.password_hash, row.oidc_subject)
