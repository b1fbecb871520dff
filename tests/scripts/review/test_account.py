"""`sniffer review account`: accounts by command; what takes a right away signs out; no password is ever a flag."""

from __future__ import annotations

import io

import pytest

from sniffer.adapters.mysql.database import Database
from sniffer.core.review_accounts import ReviewRole
from sniffer.review.account import main
from sniffer.review.passwords import is_password

WORDS = "correct horse battery"


@pytest.fixture
def typed(database_url: str, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("SNIFFER_DATABASE_URL", database_url)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{WORDS}\n"))
    return monkeypatch


def test_accounts_are_added_changed_and_disabled(
    typed: pytest.MonkeyPatch, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["add", "ann", "--role", "reviewer"]) == 0
    account = database.review_accounts.get("ann")
    assert account is not None and account.role is ReviewRole.REVIEWER and account.password_hash is not None
    assert account.password_hash.startswith("$argon2id$") and is_password(WORDS, account.password_hash)
    assert not is_password(f"{WORDS}!", account.password_hash)
    database.review_sessions.open("t" * 43, "ann", "c")
    assert database.review_sessions.of_token("t" * 43) is not None
    assert main(["role", "ann", "--role", "lead"]) == 0
    assert database.review_sessions.of_token("t" * 43) is None
    database.review_sessions.open("t" * 43, "ann", "c")
    assert main(["disable", "ann"]) == 0
    assert database.review_sessions.of_token("t" * 43) is None
    assert main(["enable", "ann"]) == 0
    assert main(["list"]) == 0 and "ann  lead" in capsys.readouterr().out
    actions = [entry.action for entry in database.review_log.latest(10)]
    assert actions == ["account_enable", "account_disable", "account_role", "account_add"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "ann"], "needs --role"),
        (["add", "an n", "--role", "lead"], "cannot be an account's name"),
        (["role", "nobody", "--role", "lead"], "there is no account nobody"),
        (["disable"], "needs the account's NAME"),
        (["add", "ann", "--role", "lead", "--password", "x"], "there is no flag --password"),
    ],
)
def test_what_is_wrong_is_said(
    typed: pytest.MonkeyPatch, database: Database, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        assert main(words) == 2
    except SystemExit as end:
        assert end.code == 2
    assert said in capsys.readouterr().err


def test_a_short_password_is_refused(
    typed: pytest.MonkeyPatch, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    typed.setattr("sys.stdin", io.StringIO("short\n"))
    assert main(["add", "ann", "--role", "lead"]) == 2
    assert "12 to 1,024 characters" in capsys.readouterr().err and database.review_accounts.get("ann") is None
