"""The stack's review page: its passwords are made once, are for their owner alone, and are those of its accounts."""

from __future__ import annotations

import json
from pathlib import Path

from sniffer.adapters.mysql.database import Database
from sniffer.review.passwords import is_password
from sniffer_local.review import ACCOUNTS, SIMULATED, make_accounts, prepare_site


def test_each_role_has_an_account_whose_password_is_kept(database: Database, tmp_path: Path) -> None:
    site = prepare_site(tmp_path / "review", 1)
    assert prepare_site(tmp_path / "review", 1).passwords == site.passwords
    assert site.passwords_file.stat().st_mode & 0o777 == 0o600
    assert not any(password in repr(site) for password in site.passwords.values())
    assert site.waits_for() is not None
    for _ in range(2):
        make_accounts(site, database)
    assert site.waits_for() is None
    found = {account.name: account for account in database.review_accounts.all()}
    assert {name: account.role for name, account in found.items()} == ACCOUNTS
    assert is_password(site.passwords["lead"], found["lead"].password_hash)
    assert [entry.subject for entry in database.review_log.latest(10)] == [SIMULATED, "auditor", "lead", "reviewer"]


def test_a_stack_of_before_an_account_keeps_its_passwords_and_gets_that_one(tmp_path: Path) -> None:
    older = {name: password for name, password in prepare_site(tmp_path, 1).passwords.items() if name != SIMULATED}
    (tmp_path / "passwords.json").write_text(json.dumps(older))
    site = prepare_site(tmp_path, 1)
    assert older.items() < site.passwords.items() and site.passwords.keys() == ACCOUNTS.keys()
    assert site.logins == ", ".join(f"{name} {password}" for name, password in older.items())
