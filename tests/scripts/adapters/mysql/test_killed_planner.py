"""However a planner is killed, and however many plan at once: there is a whole plan, bound to its approval, or none."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import SettingsError
from sniffer.core.key_ranges import KeyRange
from sniffer.core.records import ScanRequest
from sniffer.core.settings import DatabaseSettings
from sniffer.core.shard_records import ShardChoice, ShardedScan
from sniffer.scan.stored_shards import next_part

RANGES = [(KeyRange("", "d"), 10), (KeyRange("d", "m"), 12), (KeyRange("m"), 9)]
KILLED_AT_EACH = """
import os, signal, sys
from sqlalchemy import Engine, event
from sniffer.adapters.mysql.database import Database
from sniffer.core.key_ranges import KeyRange
from sniffer.core.records import ScanRequest
from sniffer.core.settings import DatabaseSettings

RANGES = [(KeyRange("", "d"), 10), (KeyRange("d", "m"), 12), (KeyRange("m"), 9)]

def plan(at):
    asked = 0
    def count(*_):
        nonlocal asked
        if asked == at:
            os.kill(os.getpid(), signal.SIGKILL)
        asked += 1
    event.listen(Engine, "before_cursor_execute", count)
    event.listen(Engine, "commit", count)
    with Database(DatabaseSettings(sys.argv[1], patience_s=30)) as database:
        database.shards.plan(ScanRequest(f"killed-{at}", "bkt"), 1, 0.5, RANGES, needs_approval=True)

for at in range(50):
    if not (child := os.fork()):
        plan(at)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        print(at)
        break
"""


def _plan(database: Database, scan_id: str) -> ShardedScan:
    return database.shards.plan(ScanRequest(scan_id, "bkt"), 1, 0.5, RANGES, needs_approval=True)


def _is_bound(database: Database, scan_id: str) -> bool:
    with pytest.raises(SettingsError, match="has to be approved, and has no estimate yet"):
        next_part(database, ShardChoice(scan_id, 1))
    return True


def test_a_planner_that_is_killed_at_any_statement_leaves_no_half_plan(database: Database, database_url: str) -> None:
    command = [sys.executable, "-c", KILLED_AT_EACH, database_url]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    statements = int(ended.stdout)
    assert statements >= 6, "what is inserted, read and committed"
    for at in range(statements):
        assert database.shards.find(f"killed-{at}") is None
        assert not database.scans.is_known(f"killed-{at}"), "it would be taken for a scan in one piece"
        assert len(_plan(database, f"killed-{at}").parts) == 3 and _is_bound(database, f"killed-{at}")
    whole = database.shards.find(f"killed-{statements}")
    assert whole is not None and len(whole.parts) == 3 and _is_bound(database, f"killed-{statements}")


def test_of_planners_at_once_one_makes_the_plan_and_all_have_it(database: Database, database_url: str) -> None:
    found: list[ShardedScan] = []
    ready = threading.Barrier(4)

    def plan(cut: str) -> None:
        ranges = [(KeyRange("", cut), 1), (KeyRange(cut), 1)]
        with Database(DatabaseSettings(database_url, patience_s=30)) as ours:
            ours.check()
            ready.wait(30)
            found.append(ours.shards.plan(ScanRequest("both", "bkt"), 1, 0.5, ranges, needs_approval=True))

    planners = [threading.Thread(target=plan, args=(cut,)) for cut in "bcde"]
    for planner in planners:
        planner.start()
    for planner in planners:
        planner.join(60)
    assert len(found) == 4 and all(each.parts == found[0].parts for each in found)
    assert database.shards.find("both") == found[0] and len(found[0].parts) == 2 and _is_bound(database, "both")
