"""A whole historical bucket by the programs: planned, estimated, approved, scanned in shards, certified."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.fleet import Fleet, counted, jpeg
from support.programs import Program

pytestmark = pytest.mark.slow  # a dozen processes, some of which scan

GROWTH = 0.2


class Backfill:
    """Runs the programs of one backfill."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def run(self, program: str, *flags: str, status: int = 0) -> str:
        """What the program printed."""
        with Program(program, *flags, environ=self._fleet.environ) as started:
            assert started.wait() == status, started.text()
            return started.text()

    def result(self, program: str, *flags: str) -> dict[str, Any]:
        """What the program handed on."""
        path = self._fleet.folder / "result.json"
        self.run(program, *flags, f"--result={path}")
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def estimate(self, *flags: str) -> dict[str, Any]:
        return self.result("sniffer.backfill.estimate", "--scan-id=whole", *flags)


def test_it_is_refused_before_it_is_approved_and_once_the_bucket_has_grown(fleet: Fleet) -> None:
    backfill = Backfill(fleet)
    fleet.fill(6)
    fleet.put("images/copy.jpg", jpeg(3))
    fleet.put("notes.html", b"<p>")
    archived = {"Key": "old/a b.jpg", "Body": jpeg(99), "StorageClass": "GLACIER"}
    fleet.bucket.client.put_object(Bucket=fleet.bucket.name, **archived)
    backfill.run("sniffer.scan.plan", f"--bucket={fleet.bucket.name}", "--scan-id=whole", "--exclude=.html",
                 "--shards=2", "--even-one", "--needs-approval")  # fmt: skip
    unestimated = backfill.run("sniffer.scan", "--shard-of=whole", "--consumers=1", "--shard=1", status=2)
    assert "has to be approved, and has no estimate yet" in unestimated
    assert "give --growth" in backfill.run("sniffer.backfill.estimate", "--scan-id=whole", status=2)
    estimate = backfill.estimate(f"--growth={GROWTH}")
    assert (estimate["listed"], estimate["unchanged"], estimate["skipped"]) == (9, 0, 1)
    assert [(one["storage_class"], one["objects"]) for one in estimate["archived"]] == [("GLACIER", 1)]
    assert estimate["get_requests"] == 7 and estimate["duplicates"]["likely"] == 1
    assert estimate["hours"] is None and estimate["cost"] is None, "nothing was measured yet"

    shards = ["--shard-of=whole", "--consumers=1"]
    refused = backfill.run("sniffer.scan", *shards, "--shard=1", status=2)
    assert "nobody has approved the plan of scan whole" in refused and estimate["digest"] in refused
    assert "nobody has approved" in backfill.run("sniffer.backfill.recount", "--scan-id=whole", status=2)
    by = ["--by=J. Doe", "--reason=ticket 812"]
    assert "has no estimate with the digest" in backfill.run(
        "sniffer.backfill.approve", "whole", f"--digest={'0' * 64}", *by, status=2
    )
    backfill.run("sniffer.backfill.approve", "whole", f"--digest={estimate['digest']}", *by)
    assert fleet.rows("SELECT approved_by, approval_reason FROM estimates") == [("J. Doe", "ticket 812")]

    # One more is within a fifth of nine.
    fleet.fill(1)
    fleet.put("images/9999.jpg", jpeg(1000))
    left = backfill.result("sniffer.backfill.recount", "--scan-id=whole", "--order=keys-backwards")
    assert [command["title"] for command in left["scans"]] == ["2 of 2", "1 of 2"] and left["listed"] == 10
    now = datetime.now(UTC)
    backfill.run("sniffer.scan", *shards, "--shard=2", f"--end-at={(now + timedelta(hours=1)).isoformat()}")

    # What comes into a shard that is complete is not scanned, and costs nothing.
    fleet.bucket.put("zoo/1.jpg", jpeg(1001))
    fleet.bucket.put("zoo/2.jpg", jpeg(1002))
    assert backfill.result("sniffer.backfill.recount", "--scan-id=whole")["listed"] == 10
    for number in range(2000, 2003):
        fleet.bucket.put(f"album/{number}.jpg", jpeg(number))
    grown = backfill.run("sniffer.backfill.recount", "--scan-id=whole", status=2)
    assert "has grown by more than 20.0% past the 9 objects that were approved" in grown
    assert "has grown by more than" in backfill.run("sniffer.scan", *shards, "--shard=1", status=2)

    again = backfill.estimate(f"--growth={GROWTH}", "--at-a-time=2")
    assert again["digest"] != estimate["digest"]
    assert "nobody has approved" in backfill.run("sniffer.scan", *shards, "--shard=1", status=2)
    backfill.run("sniffer.backfill.approve", "whole", f"--digest={again['digest']}", *by)
    for shard in (1, 2):
        backfill.run("sniffer.scan", *shards, f"--shard={shard}")
    backfill.run("sniffer.scan.certify", "--scan-id=whole", f"--result={fleet.certificate_path}")
    whole = fleet.certificate()
    assert whole.holds
    assert counted(whole)["inaccessible"] == 1 and whole.codes["archived"] == 1

    manifest = fleet.folder / "restore.csv"
    backfill.run("sniffer.backfill.archived", f"--bucket={fleet.bucket.name}", f"--manifest={manifest}")
    assert manifest.read_text() == f"{fleet.bucket.name},old/a%20b.jpg\n"


def test_a_shard_whose_hours_are_over_ends_at_a_key_and_goes_on_later(fleet: Fleet) -> None:
    backfill = Backfill(fleet)
    for number in range(1100):
        fleet.put(f"{number:05}.jpg", b"")
    fleet.fill(2)
    backfill.run("sniffer.scan.plan", f"--bucket={fleet.bucket.name}", "--scan-id=whole", "--shards=1", "--even-one")
    shard = ["--shard-of=whole", "--shard=1", "--consumers=1"]
    over = f"--end-at={datetime.now(UTC).isoformat()}"
    fleet.environ["SNIFFER_UNREADABLE_BUDGET"] = "1"
    night = backfill.result("sniffer.scan", *shard, over)
    assert (night["listed"], night["rest_after"], night["holds"]) == (1000, "00999.jpg", True)
    assert [
        command["title"] for command in backfill.result("sniffer.backfill.recount", "--scan-id=whole")["scans"]
    ] == ["1 of 1"]
    again = backfill.result("sniffer.scan", *shard)
    assert (again["listed"], again["rest_after"]) == (102, None)
    backfill.run("sniffer.scan.certify", "--scan-id=whole", f"--result={fleet.certificate_path}")
    assert fleet.certificate().listed == 1102 and fleet.certificate().holds
    refused = backfill.run("sniffer.scan", f"--bucket={fleet.bucket.name}", over, status=2)
    assert "--end-at is for a shard of a stored plan" in refused
