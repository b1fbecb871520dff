"""The log of the review page: whatever is done to it is found, and the first entry that is wrong is named."""

from __future__ import annotations

import dataclasses
import threading

import pytest
from support.stored_rows import change, rows

from sniffer.adapters.mysql.database import Database
from sniffer.core.review_accounts import AuditEntry, LogHead
from sniffer.core.settings import DatabaseSettings
from sniffer.review.verify_log import main, verify


def entries(database: Database) -> list[AuditEntry]:
    return [entry for page in database.review_log.pages(2) for entry in page]


def test_every_change_of_the_log_is_found_and_its_first_entry_named(database: Database) -> None:
    heads = [database.review_log.add("ann", "login", f"subject {n} \u2028é", n=n) for n in range(5)]
    found, head = entries(database), heads[-1]
    assert verify(found, head, heads).problem == ""
    third = found[2]
    for other in (
        dataclasses.replace(third, who="ben"),
        dataclasses.replace(third, action="x"),
        dataclasses.replace(third, subject="y"),
        dataclasses.replace(third, details="{}"),
    ):
        assert verify([*found[:2], other, *found[3:]], head).entry == 3
    late = [*found[:2], dataclasses.replace(found[2], at=found[3].at), *found[3:]]
    assert verify(late, head).entry == 3
    assert verify([*found[:2], *found[3:]], head).entry == 3
    assert verify(found[1:], head).entry == 1
    assert verify([found[1], found[0], *found[2:]], head).entry == 1
    # The end is cut off: seen by the head's row, or, where that was set back, too, by a head from elsewhere.
    assert verify(found[:3], head).entry == 4
    assert verify(found[:3], heads[2]).problem == ""
    assert verify(found[:3], heads[2], [heads[3]]).entry == 4
    assert verify(found, None).entry == 6
    # Written anew from the third entry on, with right hashes.
    known = LogHead(3, bytes(32))
    assert verify(found, head, [known]).entry == 3
    assert "written anew" in verify(found, head, [known]).problem
    assert LogHead.parse(str(head)) == head


def test_the_command_names_the_first_wrong_entry(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SNIFFER_DATABASE_URL", database_url)
    others = [Database(DatabaseSettings(database_url, patience_s=30)) for _ in range(3)]
    threads = [threading.Thread(target=lambda d=d: [d.review_log.add("x", "y") for _ in range(10)]) for d in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for other in others:
        other.close()
    head = database.review_log.head()
    assert main([]) == 0 and "30 entries are whole" in capsys.readouterr().out
    change(database_url, "UPDATE review_log SET who = 'z' WHERE number = 17")
    assert main([]) == 1 and "entry 17 was changed" in capsys.readouterr().out
    change(database_url, "DELETE FROM review_log WHERE number >= 17")
    assert main([]) == 1 and "its end was cut off" in capsys.readouterr().out
    change(
        database_url,
        "UPDATE review_log_head SET number = 16, hash = (SELECT hash FROM review_log WHERE number = 16)",
    )
    assert main([]) == 0
    assert main(["--head", str(head)]) == 1
    assert rows(database_url, "SELECT COUNT(*) FROM review_log") == [(16,)]
