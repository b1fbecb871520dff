"""Shards of a bucket, planned and scanned by the programs: together they are what one scan of all would have been."""

from __future__ import annotations

import json

from support.fleet import Fleet, jpeg
from support.programs import Program

from sniffer.core.records import Certificate, Outcome
from sniffer.core.settings import Budgets
from sniffer.scan.shard_certificates import sum_certificates


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
