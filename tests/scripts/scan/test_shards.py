"""Shards of a bucket, planned and scanned by the programs: together they are what one scan of all would have been."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from support.fleet import Fleet, counted, jpeg
from support.programs import Program

from sniffer.core.records import Certificate, Outcome
from sniffer.core.settings import Budgets
from sniffer.scan.shard_certificates import sum_certificates


def run(fleet: Fleet, program: str, *flags: str, status: int = 0, environ: Mapping[str, str] | None = None) -> str:
    """Run a program of a stored plan; what it printed."""
    with Program(program, *flags, environ=fleet.environ | dict(environ or {})) as started:
        assert started.wait() == status, started.text()
        return started.text()


def planned(fleet: Fleet, *flags: str, **environ: str) -> dict[str, Any]:
    result = fleet.folder / "plan.json"
    run(fleet, "sniffer.scan.plan", f"--bucket={fleet.bucket.name}", f"--result={result}", *flags, environ=environ)
    plan: dict[str, Any] = json.loads(result.read_text())
    return plan


def scan(fleet: Fleet, words: Sequence[str], **environ: str) -> Certificate:
    run(fleet, "sniffer.scan", *words, "--consumers=1", f"--result={fleet.certificate_path}", environ=environ)
    return fleet.certificate()


def certified(fleet: Fleet, status: int = 0) -> Certificate:
    run(fleet, "sniffer.scan.certify", "--scan-id=archive", f"--result={fleet.certificate_path}", status=status)
    return fleet.certificate()


def test_a_stored_plan_is_scanned_shard_by_shard_and_certified_as_one(fleet: Fleet) -> None:
    fleet.fill(7)
    fleet.put("skip/page.html", b"<p>")
    fleet.put("z/broken.jpg", b"no picture")
    asked = ("--scan-id=archive", "--exclude=.html", "--shards=3")
    plan = planned(fleet, *asked)
    assert [command["title"] for command in plan["scans"]] == ["1 of 3", "2 of 3", "3 of 3"]
    assert [shard["state"] for shard in plan["shards"]] == ["planned"] * 3
    first = scan(fleet, plan["scans"][0]["words"])
    assert first.exclude == (".html",) and first.scan_id == "archive.1"
    assert "2 of 3 parts are not complete" in run(fleet, "sniffer.scan.certify", "--scan-id=archive", status=1)
    # The same again is what is left; another scan under its id is refused.
    again = planned(fleet, *asked)
    assert [command["title"] for command in again["scans"]] == ["2 of 3", "3 of 3"]
    assert [shard["state"] for shard in again["shards"]] == ["complete", "planned", "planned"]
    other = run(fleet, "sniffer.scan.plan", f"--bucket={fleet.bucket.name}", "--scan-id=archive", status=2)
    assert "planned with other values of --exclude" in other
    for command in again["scans"]:
        scan(fleet, command["words"])
    # The last one has certified the whole; to do so again changes nothing.
    assert fleet.rows("SELECT state, listed FROM scans WHERE scan_id = 'archive'") == [("complete", 9)]
    whole = certified(fleet)
    assert whole.holds and counted(whole) == {"predicted": 7, "unreadable": 1, "skipped": 1}
    assert whole.scan_id == "archive" and whole.key_range.is_whole
    in_one = fleet.scan("--exclude=.html")
    assert in_one.listing_digest == whole.listing_digest and in_one.listed == whole.listed
    # A shard that is complete costs a question: its certificate is as it was.
    assert scan(fleet, plan["scans"][0]["words"]) == first
    # A stored plan stays as it is, into however many shards it would be cut today.
    done = planned(fleet, *asked[:-1], "--shards=1")
    assert done["left"] == 0 and [command["title"] for command in done["scans"]] == ["1 of 3"]


def test_few_keys_are_scanned_in_one_piece(fleet: Fleet) -> None:
    fleet.fill(3)
    plan = planned(fleet, "--scan-id=small", "--prefix=images/")
    assert [command["title"] for command in plan["scans"]] == ["all keys"] and plan["scan_id"] is None
    assert {"--prefix=images/", "--scan-id=small"} < set(plan["scans"][0]["words"])
    assert scan(fleet, plan["scans"][0]["words"]).listed == 3
    # What was begun in one piece goes on so, however large the bucket is by now.
    assert planned(fleet, "--scan-id=small", "--prefix=images/", SNIFFER_SHARD_KEYS="1")["scan_id"] is None
    cut = planned(fleet, "--scan-id=cut", "--prefix=images/", SNIFFER_SHARD_KEYS="1")
    assert len(cut["scans"]) == 3 and cut["scan_id"] == "cut"
    (command,) = planned(fleet, "--limit=2", "--scan-id=more", "--shards=3")["scans"]
    assert "--limit=2" in command["words"]


@pytest.mark.slow  # a page of a listing has 1,000 keys
def test_a_shard_that_is_far_too_large_ends_at_a_key_and_a_further_part_does_the_rest(fleet: Fleet) -> None:
    for number in range(2100):
        fleet.put(f"{number:05}.jpg", b"")
    fleet.fill(2)
    planned(fleet, "--scan-id=archive", "--shards=2")
    many = {"SNIFFER_SHARD_IMAGES": "10", "SNIFFER_UNREADABLE_BUDGET": "1"}
    seen = []
    for _ in range(5):
        plan = planned(fleet, "--scan-id=archive", "--shards=2")
        if plan["left"]:
            seen.append(scan(fleet, plan["scans"][0]["words"], **many))
    assert planned(fleet, "--scan-id=archive", "--shards=2")["left"] == 0
    assert [part.listed for part in seen if part.rest_after] == [1000, 1000] and len(seen) == 4
    run(
        fleet,
        "sniffer.scan.certify",
        "--scan-id=archive",
        f"--result={fleet.certificate_path}",
        environ=many,
    )
    whole = fleet.certificate()
    assert whole.holds and counted(whole) == {"predicted": 2, "unreadable": 2100}


@pytest.mark.slow  # the test above, by flags alone
def test_shards_of_a_plan_scanned_one_by_one_add_up_to_a_scan_of_all(fleet: Fleet) -> None:
    fleet.fill(8)
    fleet.put("other/é 😀.jpg", jpeg(100))
    fleet.put("other/broken.jpg", b"no picture")
    with Program(
        "sniffer.scan.plan", f"--bucket={fleet.bucket.name}", "--shards=3", "--json", environ=fleet.environ
    ) as program:
        assert program.wait() == 0, program.text()
        plan = (
            json.loads(program.output()) if hasattr(program, "output") else json.loads(program.text().splitlines()[-1])
        )
    assert sorted(shard["keys"] for shard in plan["shards"]) == [3, 3, 4] and plan["keys"] == 10
    assert plan["warning"] == "" and plan["requests"] <= 4 * 3 + 200
    certificates: list[Certificate] = []
    for shard in plan["shards"]:
        ends = [f"--after={shard['after']}"] if shard["after"] else []
        ends += [f"--up-to={shard['up_to']}"] if shard["up_to"] else []
        certificates.append(fleet.scan(*ends))
        assert certificates[-1].listed == shard["keys"] and certificates[-1].key_range.up_to == shard["up_to"]
    fleet.assert_every_object_has_one_row()
    whole = sum_certificates("whole", certificates, Budgets(unreadable=0.5))
    assert whole.holds and whole.listed == len(fleet.keys) and whole.outcomes[Outcome.UNREADABLE] == 1
    again = fleet.scan("--scan-id=all")
    assert again.listing_digest == whole.listing_digest and again.outcomes[Outcome.UNCHANGED] == len(fleet.keys)
    with fleet.start(f"--scan-id={certificates[0].scan_id}", f"--after={plan['shards'][1]['after']}") as program:
        assert program.wait() == 2 and "give it the same --after and --up-to" in program.text()
