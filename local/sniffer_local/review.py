"""The review page of the local stack, with one account of each role and a simulated reviewer's.

Their passwords are made here.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import sniffer
from sniffer.adapters.mysql.database import Database
from sniffer.core.files import write_text
from sniffer.core.review_accounts import ReviewRole
from sniffer.review.passwords import hash_password
from sniffer_local.processes import Service, answers_http

SIMULATED = "simulated-reviewer"
ACCOUNTS: Mapping[str, ReviewRole] = {
    "reviewer": ReviewRole.REVIEWER,
    "lead": ReviewRole.LEAD,
    "auditor": ReviewRole.AUDITOR,
    SIMULATED: ReviewRole.REVIEWER,
}
"""People's names are their roles."""


@dataclass(frozen=True, slots=True)
class ReviewSite:
    """Its folder and port, and each account's password, which is in a file for its owner alone."""

    folder: Path
    port: int
    passwords: Mapping[str, str] = field(repr=False)

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def logins(self) -> str:
        """People's names, each with its password."""
        return ", ".join(f"{name} {password}" for name, password in self.passwords.items() if name != SIMULATED)

    @property
    def passwords_file(self) -> Path:
        """JSON: each name with its password."""
        return self.folder / "passwords.json"

    @property
    def made(self) -> Path:
        """There once the database has the accounts."""
        return self.folder / "accounts-made"

    def waits_for(self) -> str | None:
        """What it cannot start without; None when it can."""
        return None if self.made.is_file() else "its accounts to be made by `make demo`"


def prepare_site(folder: Path, port: int) -> ReviewSite:
    """Make the passwords that there are not, as of an account that is newer than the stack. Idempotent."""
    file = folder / "passwords.json"
    passwords: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if missing := ACCOUNTS.keys() - passwords.keys():
        passwords |= {name: secrets.token_urlsafe(12) for name in ACCOUNTS if name in missing}
        write_text(file, json.dumps(passwords, indent=2) + "\n", private=True)
    return ReviewSite(folder, port, passwords)


def make_accounts(site: ReviewSite, database: Database) -> None:
    """Give the database the accounts that it lacks, with the passwords of the file. Idempotent."""
    for name, role in ACCOUNTS.items():
        if database.review_accounts.get(name) is None:
            database.review_accounts.add(name, role, hash_password(site.passwords[name]))
            database.review_log.add("local stack", "account_add", name, role=str(role))
    write_text(site.made, "", private=True)


def review_service(site: ReviewSite, environ: Mapping[str, str], log: Path) -> Service:
    """The page as a process."""
    return Service(
        "review",
        (sys.executable, "-m", "sniffer.review.web.serve", "--port", str(site.port)),
        log,
        lambda: answers_http(site.port, "/healthz"),
        environ=environ,
        address=f"127.0.0.1:{site.port}",
        code=(Path(sniffer.__file__).parent,),
    )
