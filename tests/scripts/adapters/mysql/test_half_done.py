"""A scan in shards keeps its model version between its shards, until it is complete, given up, or long forgotten."""

from __future__ import annotations

import pytest
from support.ended_scans import certificate_of
from support.stored_rows import change, model, record, rows
from support.stored_rows import predicted as scored

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import SettingsError
from sniffer.core.flag_records import Deciding
from sniffer.core.key_ranges import KeyRange
from sniffer.core.records import FencingToken, ScanRequest
from sniffer.core.shard_records import ShardChoice
from sniffer.retention.prune import prune
from sniffer.scan import plan
from sniffer.scan.stored_shards import NextPart, next_part
from sniffer_rollout.production_state import read_production_state

pytestmark = pytest.mark.both_servers

WHOLE = ScanRequest("plan", "bkt")


@pytest.fixture(autouse=True)
def planned(database: Database) -> None:
    database.shards.plan(WHOLE, 2, 0.5, [(KeyRange("", "m"), 10), (KeyRange("m"), 10)])


def begin(database: Database, shard: int) -> FencingToken:
    part = next_part(database, ShardChoice("plan", shard))
    assert isinstance(part, NextPart)
    token = database.scans.open(part.request, 2, 0.5)
    record(database, [scored(f"k{shard}", 0.9)], token=token, model_version=2)
    return token


def end(database: Database, token: FencingToken, shard: int) -> None:
    database.scans.close(certificate_of({}, scan_id=f"plan.{shard}", run_number=token.run_number))


def versions(database: Database) -> list[int]:
    return [one.model_version for one in database.shards.half_done()]


def test_a_plan_keeps_its_version_until_it_is_certified(database: Database, database_url: str) -> None:
    assert versions(database) == [2]
    end(database, begin(database, 1), 1)
    assert database.scans.running_versions() == set() and versions(database) == [2]
    assert database.shards.half_done([1]) == []
    end(database, begin(database, 2), 2)
    assert versions(database) == [2]
    database.shards.certify("plan", lambda *_: certificate_of({}, scan_id="plan", problems=("too many failed",)))
    assert versions(database) == [], "it has ended, though it does not hold"
    database.scans.open(ScanRequest("one-piece", "bkt"), 1, 0.5)
    change(database_url, "DELETE FROM leases")
    assert versions(database) == []


def test_one_that_nobody_goes_on_with_keeps_it_for_two_weeks(database: Database, database_url: str) -> None:
    change(database_url, "UPDATE scans SET started_at = started_at - INTERVAL 15 DAY")
    assert versions(database) == []
    end(database, begin(database, 1), 1)
    assert versions(database) == [2]
    change(database_url, "UPDATE scans SET finished_at = finished_at - INTERVAL 15 DAY WHERE scan_id = 'plan.1'")
    assert versions(database) == []
    begin(database, 2)
    assert versions(database) == [2]


def test_one_that_is_given_up_lets_go_until_it_is_taken_up(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SNIFFER_DATABASE_URL", database_url)
    end(database, begin(database, 1), 1)
    for flags, message in (
        (["--bucket=bkt"], "say which by --scan-id"),
        (["--bucket=other", "--scan-id=plan"], "scan plan is of the bucket bkt, not other"),
        (["--bucket=bkt", "--scan-id=none"], "scan none has no shards in MySQL"),
        (["--bucket=bkt", "--scan-id=plan.1"], "scan plan.1 has no shards in MySQL"),
    ):
        assert plan.main([*flags, "--give-up"]) == 2
        assert message in capsys.readouterr().err
    assert plan.main(["--bucket=bkt", "--scan-id=plan", "--give-up"]) == 0
    assert "scan plan is given up" in capsys.readouterr().out
    assert versions(database) == []
    assert rows(database_url, "SELECT state, finished_at IS NULL FROM scans WHERE scan_id = 'plan'") == [
        ("incomplete", 0)
    ]
    second = begin(database, 2)
    assert versions(database) == [2]
    end(database, second, 2)
    database.shards.certify("plan", lambda *_: certificate_of({}, scan_id="plan"))
    with pytest.raises(SettingsError, match="scan plan is complete"):
        database.shards.give_up("plan")


def test_a_discarded_one_is_half_done_again(database: Database) -> None:
    token = begin(database, 1)
    database.holds.hold_plan(token, "far too many")
    assert versions(database) == [2]
    with pytest.raises(SettingsError, match="scan plan is held .far too many.: release it or discard it first"):
        database.shards.give_up("plan")
    database.holds.discard(Deciding("plan", "jo", "broken"))
    assert versions(database) == [2]


def test_a_rollout_keeps_it_loaded_and_says_why(database: Database) -> None:
    for version in (1, 2):
        database.models.register(model(version))
    database.models.promote(1)
    production = read_production_state(database)
    assert production.retained_versions == {2} and production.aspired().versions == (1, 2)
    [why] = production.kept_for_plans()
    assert why.startswith("scan plan, which is in shards and half done, needs model version 2, until 20")
    assert "`sniffer plan --bucket bkt --scan-id plan --give-up`" in why
    database.models.promote(2)
    assert read_production_state(database).kept_for_plans() == [], "it is stable anyway"
    database.shards.give_up("plan")
    database.models.promote(1)
    assert read_production_state(database).half_done == ()


def test_its_results_do_not_go_with_their_version(database: Database, database_url: str) -> None:
    database.models.register(model(2))
    end(database, begin(database, 1), 1)
    for days in (None, 1):
        change(database_url, f"UPDATE scans SET started_at = NOW(6) - INTERVAL {2 if days else 0} DAY")
        with pytest.raises(SettingsError, match="--model-version: scan plan, which is in shards and half done"):
            prune(database, older_than_days=days, model_versions=[2])
    assert prune(database, older_than_days=3, model_versions=[2]).predictions == 0
    database.shards.give_up("plan")
    assert prune(database, older_than_days=None, model_versions=[2]).predictions == 1
