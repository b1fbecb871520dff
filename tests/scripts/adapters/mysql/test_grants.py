"""Each program works with the rights of its role, as `sniffer migrate --grants` makes them, and with no more."""

from __future__ import annotations

import dataclasses

import pytest
from sqlalchemy import create_engine, text
from support.database_servers import DatabaseServer
from support.database_users import connected, denied, url_of, users
from support.ended_scans import certificate_of
from support.estimates import ESTIMATE
from support.reviewed import decide, flag, submit, waiting
from support.stored_rows import failed, predicted, record

from sniffer.adapters.images import DECODER_VERSION
from sniffer.adapters.mysql.database import Database
from sniffer.adapters.mysql.grants import ROLES, grant_statements
from sniffer.adapters.mysql.transactions import Transactions
from sniffer.core.errors import SettingsError
from sniffer.core.estimate_records import Approving
from sniffer.core.flag_records import Deciding
from sniffer.core.key_ranges import ALL_KEYS
from sniffer.core.records import Outcome, ScanRequest
from sniffer.core.retention_records import Removed
from sniffer.core.review_records import NewDecision, ReviewDecision, SecondReview
from sniffer.core.settings import DatabaseSettings
from sniffer.core.shard_records import ShardChoice
from sniffer.retention.erase import erase
from sniffer.retention.prune import prune
from sniffer.scan.migrate import main
from sniffer.scan.stored_shards import take_room

pytestmark = pytest.mark.both_servers


@pytest.mark.usefixtures("roles")
def test_a_scan_writes_results_and_nothing_about_models(database_url: str) -> None:
    with connected(database_url, "sniffer_scan") as database:
        token = database.scans.open(ScanRequest("s", "bkt"), 1, 0.5)
        results = [predicted("a", 0.9), failed("b")]
        assert record(database, results, token=token) == [Outcome.PREDICTED, Outcome.FAILED]
        assert record(database, [predicted("b", 0.1)], token=token) == [Outcome.PREDICTED]
        identity = results[0].image.identity
        assert database.images.settled([identity], 1, DECODER_VERSION, scan_id="s") == {identity: 0.9}
        assert len(database.images.scored_bytes([results[0].content_hash or b""], 1)) == 1
        assert list(database.images.failed_objects("bkt", "", 1, DECODER_VERSION)) == []
        assert [image.key for image in database.images.top_images(1)] == ["a", "b"]
        assert database.scans.tallies(token)
        database.scans.failure_samples(token, 1, 10)
        database.scans.close(certificate_of({Outcome.PREDICTED: 1, Outcome.FAILED: 1}, run_number=token.run_number))
        assert database.models.stable() is None
    denied(
        database_url,
        "sniffer_scan",
        "UPDATE models SET production = 'stable'",
        "DELETE FROM predictions",
        "DELETE FROM scans",
        "SELECT * FROM reports",
        "ALTER TABLE images ADD COLUMN x INT",
        "DROP TABLE predictions",
        "CREATE TABLE x (n INT)",
        "UPDATE scans SET discarded_run = 9",
        "UPDATE shards SET after_key = ''",
    )


@pytest.mark.usefixtures("roles")
def test_retention_deletes_results_and_keeps_what_was_certified(database: Database, database_url: str) -> None:
    token = database.scans.open(ScanRequest("s", "bkt"), 1, 0.5)
    record(database, [predicted("a", 0.9), failed("b")], token=token)
    samples = database.scans.failure_samples(token, 1, 5)
    ended = certificate_of({Outcome.PREDICTED: 1, Outcome.FAILED: 1}, run_number=token.run_number)
    database.scans.close(dataclasses.replace(ended, failure_samples=samples))
    with connected(database_url, "sniffer_retention") as own:
        erasure = erase(own, "bkt", key="b", prefix="", requested_by="me", reason="a test")
        assert (erasure.removed, erasure.certificates) == (Removed(1, 1), 1)
        assert own.shards.half_done() == []
        assert prune(own, older_than_days=None, model_versions=[1]) == Removed(1, 1)
        assert own.retention.erasures("bkt")[-1] == erasure
    denied(
        database_url,
        "sniffer_retention",
        "DELETE FROM erasures",
        "UPDATE erasures SET reason = ''",
        "DELETE FROM scans",
        "UPDATE scans SET discarded_run = 1",
        "UPDATE images SET etag = ''",
        "DELETE FROM holds",
        "INSERT INTO hold_decisions (scan_number) VALUES (1)",
        "UPDATE predictions SET score = 0",
        "DELETE FROM models",
    )


@pytest.mark.usefixtures("roles")
def test_who_decides_about_held_scans_deletes_scores_and_no_record(database: Database, database_url: str) -> None:
    for scan_id in ("a", "b"):
        with connected(database_url, "sniffer_scan") as scanning:
            token = scanning.scans.open(ScanRequest(scan_id, "bkt"), 1, 0.5)
            record(scanning, [predicted(scan_id, 0.9)], token=token)
            assert scanning.holds.flag_counts(token).flagged == 1
            assert scanning.holds.flag_history(token, 9) == () and scanning.holds.release_of(token) == ""
            scanning.scans.close(certificate_of({}, scan_id=scan_id, run_number=1, held="a flood"))
    plan = ScanRequest("plan", "bkt")
    with connected(database_url, "sniffer_scan") as scanning:
        part = scanning.shards.plan(plan, 1, 0.5, [(ALL_KEYS, 1)]).parts[0]
        token = scanning.scans.open(dataclasses.replace(plan, scan_id=part.scan_id), 1, 0.5)
        record(scanning, [predicted("plan", 0.9)], token=token)
        assert scanning.holds.plan_past(token, 9, 3) and scanning.holds.plan_counts(token).total.flagged == 1
        scanning.holds.hold_plan(token, "a flood")
    with connected(database_url, "sniffer_decide") as own:
        assert own.holds.discard(Deciding("plan", "jo", "broken")).results == 1
        assert own.holds.release(Deciding("a", "jo", "checked")).is_finished
        assert own.holds.discard(Deciding("b", "jo", "broken")).results == 1
    denied(
        database_url,
        "sniffer_decide",
        "DELETE FROM hold_decisions",
        "UPDATE hold_decisions SET decided_by = 'me'",
        "DELETE FROM scans",
        "INSERT INTO holds VALUES (1, '', NOW(6))",
        "UPDATE predictions SET score = 0",
        "DELETE FROM images",
        "SELECT * FROM models",
        "UPDATE scans SET request = '{}'",
        "UPDATE scans SET model_version = 9",
        "UPDATE estimates SET estimate = '{}'",
    )
    denied(database_url, "sniffer_scan", "DELETE FROM holds", "UPDATE holds SET reason = ''")
    denied(database_url, "sniffer_scan", "DELETE FROM hold_decisions", "UPDATE hold_decisions SET reason = ''")
    denied(
        database_url,
        "sniffer_scan",
        "INSERT INTO hold_decisions (scan_number, run_number, decision, reason, decided_at, decided_by)"
        " VALUES (1, 1, 'released', 'x', NOW(6), 'me')",
    )


@pytest.mark.usefixtures("roles")
def test_a_release_that_a_scan_writes_itself_is_none(database_url: str) -> None:
    """A role knows columns, not values: the word `released` can be written, the name of who said it cannot."""
    with connected(database_url, "sniffer_scan") as scanning:
        token = scanning.scans.open(ScanRequest("s", "bkt"), 1, 0.5)
        transactions = Transactions(DatabaseSettings(url_of(database_url, "sniffer_scan"), patience_s=0))
        forged = (
            "INSERT INTO hold_decisions (scan_number, run_number, decision, reason, decided_at)"
            f" VALUES ({token.scan_number}, 1, 'released', 'let it pass', NOW(6))"
        )
        transactions.transact(lambda connection: connection.execute(text(forged)))
        transactions.close()
        assert scanning.holds.release_of(token) == ""


@pytest.mark.usefixtures("roles")
def test_a_reader_reads_everything_and_writes_nothing(database: Database, database_url: str) -> None:
    database.models.promote(1)
    token = database.scans.open(ScanRequest("s", "bkt"), 1, 0.5)
    record(database, [predicted("a", 0.9)], token=token)
    database.scans.close(certificate_of({Outcome.PREDICTED: 1, Outcome.FAILED: 1}, run_number=token.run_number))
    with connected(database_url, "sniffer_reader") as own:
        assert own.scans.certificate("s") == certificate_of(
            {Outcome.PREDICTED: 1, Outcome.FAILED: 1}, run_number=token.run_number
        )
        assert own.models.get(1) is not None
        own.models.report(1)
        own.facts()
    transactions = Transactions(DatabaseSettings(url_of(database_url, "sniffer_reader")))
    flagged = transactions.transact(lambda connection: connection.execute(text("SELECT * FROM flagged_images")).all())
    assert len(flagged) == 1
    transactions.close()
    denied(database_url, "sniffer_reader", "UPDATE models SET threshold = 1", "DELETE FROM images", "DROP TABLE scans")


@pytest.mark.usefixtures("roles")
def test_the_role_that_migrates_makes_an_empty_database_ready(
    database_url: str, database_server: DatabaseServer
) -> None:
    place = database_url.rpartition("/")[2].partition("?")[0]
    database_server.site.execute(f"DROP DATABASE {place}", f"CREATE DATABASE {place} CHARACTER SET utf8mb4")
    with Database(DatabaseSettings(url_of(database_url, "sniffer_migrate"), patience_s=0)) as database:
        database.migrate()
        database.check()
        with pytest.raises(SettingsError, match="CREATE USER|CREATE ROLE"):
            database.make_roles()


@pytest.mark.usefixtures("database")
def test_the_script_is_complete_and_holds_no_password(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SNIFFER_DATABASE_URL", database_url)
    assert main(["--grants"]) == 0
    out = capsys.readouterr().out
    assert all(f"CREATE ROLE IF NOT EXISTS {role.name};" in out for role in ROLES)
    assert all(f"CREATE USER '{role.name}_user'@'%' IDENTIFIED BY '...';" in out for role in ROLES)
    assert database_url.split(":")[2].split("@")[0] not in out


def test_apply_alone_is_refused() -> None:
    assert main(["--apply"]) == 2


@pytest.mark.usefixtures("roles")
def test_the_fleet_estimates_and_who_decides_approves(database_url: str) -> None:
    with connected(database_url, "sniffer_scan") as fleet, connected(database_url, "sniffer_decide") as own:
        fleet.shards.plan(ScanRequest("whole", "bkt"), 1, 0.5, [(ALL_KEYS, 9)])
        fleet.estimates.require_approval("whole")
        digest = fleet.estimates.store(ESTIMATE).estimate.digest
        own.estimates.approve(Approving("whole", digest, "ben", "why not"))
        found = fleet.estimates.find("whole")
        assert found is not None and found.approved_by == "ben"
        take_room(fleet, ShardChoice("whole", 1), "whole.1", 5)
        assert fleet.estimates.store(ESTIMATE).approved_by == "ben", "what was approved, estimated again"
        other = dataclasses.replace(ESTIMATE, growth=0.6)
        assert fleet.estimates.store(other).approved_at is None, "that was never approved"
        assert fleet.estimates.store(ESTIMATE).approved_by == "ben"
        own.estimates.withdraw("whole")
        assert fleet.estimates.store(ESTIMATE).approved_at is None
    denied(
        database_url,
        "sniffer_scan",
        "UPDATE estimates SET approved_by = 'me'",
        "UPDATE estimates SET approved_digest = digest, approved_at = NOW(6)",
        "UPDATE estimates SET approval_reason = ''",
        "UPDATE estimates SET scan_number = 9",
        "INSERT INTO estimates (scan_number, digest, estimate, estimated_at, approved_by)"
        " VALUES (9, '', '{}', NOW(6), 'me')",
        "REPLACE INTO estimates SELECT * FROM estimates",
        "DELETE FROM estimates",
    )
    denied(database_url, "sniffer_decide", "INSERT INTO estimates SELECT * FROM estimates", "DELETE FROM estimates")
    denied(database_url, "sniffer_reader", "UPDATE estimates SET approved_by = 'me'")


@pytest.mark.usefixtures("roles")
def test_roles_that_are_as_they_should_be_lack_nothing_while_they_are_made_again(
    database_url: str, database_server: DatabaseServer
) -> None:
    """A scan that runs meanwhile would end at the first statement that it may not send."""
    place = database_url.rpartition("/")[2].partition("?")[0]
    engine = create_engine(database_url)
    with engine.connect() as connection:
        assert [one for one in grant_statements(connection) if one.startswith("REVOKE")] == []
        database_server.site.execute(f"GRANT UPDATE ON {place}.scans TO sniffer_scan")
        again = [one for one in grant_statements(connection) if one.startswith("REVOKE")]
        assert again == [f"REVOKE INSERT, UPDATE ON `{place}`.scans FROM sniffer_scan"]
    engine.dispose()
    reader = create_engine(url_of(database_url, "sniffer_reader"))
    with reader.connect() as connection:
        seen = [one for one in grant_statements(connection) if one.startswith("REVOKE")]
        assert len(seen) == sum(len(role.withdrawn) for role in ROLES), "who cannot see them withdraws them all"
    reader.dispose()


def test_rights_that_an_earlier_release_gave_are_taken_away(
    database: Database, database_url: str, database_server: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = database_url.rpartition("/")[2].partition("?")[0]
    with users(database_server, database_url, "sniffer_scan"):
        database_server.site.execute(f"GRANT INSERT, UPDATE ON {place}.estimates TO sniffer_scan")
        transactions = Transactions(DatabaseSettings(url_of(database_url, "sniffer_scan"), patience_s=0))
        mine = text("UPDATE estimates SET approved_by = 'me'")
        transactions.transact(lambda connection: connection.execute(mine))
        transactions.close()
        monkeypatch.setenv("SNIFFER_DATABASE_URL", database_url)
        assert main(["--grants", "--apply"]) == 0
        denied(database_url, "sniffer_scan", "UPDATE estimates SET approved_by = 'me'")
    for role in ROLES:
        if role.name != "sniffer_scan":
            database_server.site.execute(f"DROP ROLE {role.name}")


@pytest.mark.usefixtures("roles")
def test_reviewers_decide_and_change_no_decision(database: Database, database_url: str) -> None:
    flag(database, {"a": 0.9, "b": 0.8})
    with connected(database_url, "sniffer_review") as own:
        own.review_queue.refresh()
        number = decide(own, "a", second=SecondReview(1.0))
        assert sorted(waiting(own, "bob")) == ["a", "b"]
        image_id = own.review_decisions.of_image(own.review_decisions.latest(1)[0].row.image_id)[0].image_id
        submit(own, [NewDecision(image_id, ReviewDecision.WITHDRAWN, replaces=number)])
        own.near_duplicates.store({image_id: b"12345678"})
        assert own.near_duplicates.near(image_id) == [image_id]
        for scan_id in ("released", "discarded"):
            token = database.scans.open(ScanRequest(scan_id, "bkt"), 1, 0.5)
            record(database, [predicted(scan_id, 0.9)], token=token)
            database.scans.close(certificate_of({}, scan_id=scan_id, run_number=1, held="a flood"))
        assert own.holds.release(Deciding("released", "ann", "checked")).is_finished
        assert own.holds.discard(Deciding("discarded", "ann", "broken")).results == 1
    with connected(database_url, "sniffer_scan") as fleet:
        assert list(fleet.review_decisions.live_pages()) == []
    denied(
        database_url,
        "sniffer_review",
        "UPDATE review_decisions SET decision = 'unsure', reason = ''",
        "DELETE FROM review_decisions",
        "INSERT INTO review_samples SELECT * FROM review_samples",
        "UPDATE images SET bucket = ''",
        "UPDATE review_log SET who = ''",
        "DELETE FROM review_log",
        "DELETE FROM review_looks",
        "UPDATE predictions SET score = 0",
        "UPDATE models SET threshold = 1",
        "UPDATE scans SET request = '{}'",
        "UPDATE hold_decisions SET decided_by = 'me'",
    )
    denied(database_url, "sniffer_scan", "INSERT INTO review_decisions SELECT * FROM review_decisions")
