"""Whole scans as real processes: held at the end, stopped early, refused while held, released, discarded."""

from __future__ import annotations

import json
import re

import pytest
from support.ended_scans import certificate_of
from support.fleet import Fleet, counted, jpeg
from support.programs import Program
from support.stored_rows import change

from sniffer.adapters.mysql.database import Database
from sniffer.core.records import ScanRequest
from sniffer.core.settings import DatabaseSettings

THRESHOLD = 0.01
BAND = "--flood-band=0..0.1"
FLAGGED = "SELECT COUNT(*) FROM flagged_images"


@pytest.fixture
def flagging(fleet: Fleet) -> Fleet:
    """A fleet whose model flags everything."""
    change(fleet.database_url, f"UPDATE models SET threshold = {THRESHOLD}")
    return fleet


def ran_before(fleet: Fleet, scan_id: str, scored: int, flagged: int, *, problems: tuple[str, ...] = ()) -> None:
    """As if a run of that scan had scored so many, since 200 are needed for any verdict."""
    with Database(DatabaseSettings(fleet.database_url)) as database:
        token = database.scans.open(ScanRequest(scan_id, fleet.bucket.name), 1, THRESHOLD)
        ended = certificate_of({}, scan_id=scan_id, run_number=token.run_number, problems=problems)
        database.scans.close(ended)
    change(
        fleet.database_url,
        f"INSERT INTO tallies VALUES ({token.scan_number}, 1, 7, 'predicted', '', {scored}, {flagged}, "
        "REPEAT(CHAR(0), 32))",
    )


def decide(fleet: Fleet, *words: str, status: int = 0) -> str:
    """Run `sniffer release` or `sniffer discard`."""
    with Program(*words, environ=fleet.environ) as program:
        assert program.wait() == status, program.text()
    return program.text()


def test_a_flood_is_held_until_a_person_decides(flagging: Fleet) -> None:
    ran_before(flagging, "night", 195, 20)
    flagging.fill(8)
    held = flagging.scan("--scan-id=night", BAND, status=2)
    reason = "28 of 203 scored images are flagged (13.79%), above the expected 0.00% to 10.00%"
    assert (counted(held), held.problems, held.is_held) == ({"predicted": 8}, (), True)
    assert held.held.startswith(reason)
    assert flagging.rows(FLAGGED) == [(0,)]
    assert flagging.rows("SELECT state FROM scans") == [("held",)]

    with flagging.start("--scan-id=night", BAND) as again:
        assert again.wait() == 2
    assert f"scan night is held: {reason}" in again.text() and "`sniffer release night`" in again.text()
    assert flagging.rows("SELECT state FROM scans") == [("held",)]

    said = decide(flagging, "sniffer.scan.release", "night", "--by=jo", "--reason=checked", "--json")
    assert json.loads(said)["decision"] == "released"
    assert flagging.rows(FLAGGED) == [(8,)]
    flagging.put("images/new.jpg", jpeg(99))
    more = flagging.scan("--scan-id=night", BAND)
    assert (counted(more), more.released) == ({"unchanged": 8, "predicted": 1}, "jo: checked")


def test_what_is_discarded_is_scored_again(flagging: Fleet) -> None:
    ran_before(flagging, "night", 198, 20)
    flagging.fill(3)
    flagging.scan("--scan-id=night", BAND, status=2)
    said = decide(flagging, "sniffer.scan.discard", "night", "--by=jo", "--reason=broken", "--batch-rows=2")
    assert "3 scores are deleted" in said
    assert flagging.stored() == 0
    again = flagging.scan("--scan-id=night", BAND)
    assert (counted(again), again.flagged_new) == ({"predicted": 3}, 3)
    flagging.assert_every_object_has_one_row()
    assert flagging.rows(FLAGGED) == [(3,)]


def test_a_flood_stops_the_scan_before_its_end(flagging: Fleet) -> None:
    """The past is five scans of 300 images with 3 flagged ones; the next has 200 flagged ones already."""
    for number in range(5):
        ran_before(flagging, f"past-{number}", 300, 3)
    ran_before(flagging, "night", 250, 200, problems=("killed",))
    flagging.fill(60)
    held = flagging.scan("--scan-id=night", status=2)
    assert held.is_held and "200 of 250 scored images are flagged (80.00%)" in held.held
    assert held.problems[0].startswith("stopped early, since 200 of 250")
    assert flagging.stored() < 60
    assert flagging.rows(FLAGGED) == [(0,)]
    said = decide(flagging, "sniffer.scan.release", "night", "--by=jo", "--reason=checked")
    assert "it had stopped early: run it again with the same id" in said
    whole = flagging.scan("--scan-id=night")
    assert whole.listed == 60 and whole.holds and whole.released == "jo: checked"
    assert flagging.rows(FLAGGED) == [(60,)]


@pytest.mark.slow
def test_a_scan_in_shards_is_held_as_one_though_no_shard_could_be_alone(flagging: Fleet) -> None:
    """The past is five scans of 300 images with 3 flagged ones; the first shard has scored 195 more."""
    for number in range(5):
        ran_before(flagging, f"past-{number}", 300, 3)
    flagging.fill(8)
    asked = (f"--bucket={flagging.bucket.name}", "--scan-id=plan", "--shards=2")
    decide(flagging, "sniffer.scan.plan", *asked)
    first, second = (("--shard-of=plan", f"--shard={number}", "--consumers=1") for number in (1, 2))
    decide(flagging, "sniffer.scan", *first)
    query = "SELECT number, scan_id FROM scans WHERE scan_id LIKE 'plan.%'"
    ((number, _),) = flagging.rows(query)
    change(
        flagging.database_url,
        f"INSERT INTO tallies VALUES ({number}, 1, 7, 'predicted', '', 195, 195, REPEAT(CHAR(0), 32))",
    )
    said = decide(flagging, "sniffer.scan", *second, status=2)
    # Or of fewer: a look in its middle may have seen it.
    assert re.search(r"scan plan is held: of all 2 shards together, (20\d) of \1 scored images are flagged", said)
    assert flagging.rows(FLAGGED) == [(0,)]
    assert "scan plan is held" in decide(flagging, "sniffer.scan.certify", "--scan-id=plan", status=2)
    assert flagging.rows(FLAGGED) == [(0,)]
    assert "released" in decide(flagging, "sniffer.scan.release", "plan", "--by=jo", "--reason=checked")
    assert flagging.rows(FLAGGED) >= [(5,)]
    decide(flagging, "sniffer.scan", *second)
    assert flagging.rows(FLAGGED) == [(8,)]
    decide(flagging, "sniffer.scan.certify", "--scan-id=plan")
