"""The whole page, and the programs beside it, with the rights of the MySQL role `sniffer_review` and no others."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from support.database_servers import DatabaseServer
from support.database_users import url_of, users
from support.ended_scans import certificate_of
from support.programs import eventually
from support.review_site import PASSWORD, Site, field, fields, fill, jpeg, site
from support.scratch_bucket import ScratchBucket
from support.stored_rows import model, predicted, record

from sniffer.adapters.mysql.database import Database
from sniffer.core.recall_records import DriftTest, MeasuredRecall, MeasuredShare, RecallFigures
from sniffer.core.recall_words import FLAGGED_SHARE, SCORES
from sniffer.core.records import Outcome, ScanRequest
from sniffer.core.review_records import ReviewDecision
from sniffer.core.settings import DatabaseSettings
from sniffer.review import account, export_queue, verify_log
from sniffer.review.web.parts import utc_clock
from sniffer.review.web.preparing import Preparing

REVIEW = "sniffer_review"


@pytest.fixture
def role_url(database_server: DatabaseServer, database_url: str, database: Database) -> Iterator[str]:
    with users(database_server, database_url, REVIEW):
        yield url_of(database_url, REVIEW)


@pytest.fixture
def page(database: Database, role_url: str, bucket: ScratchBucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Five images, two of which look alike, prepared and served by that role; it made the accounts, too."""
    objects = {f"{number}.jpg": (jpeg(number), 0.6 + number / 100) for number in range(3)}
    fill(database, bucket, objects | {f"twin-{n}.jpg": (jpeg(50, variant=n), 0.9) for n in (1, 2)})
    monkeypatch.setenv("SNIFFER_DATABASE_URL", role_url)
    for name, role in (("ann", "reviewer"), ("lea", "lead")):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
        assert account.main(["add", name, "--role", role]) == 0
    with site(role_url) as found:
        with prepared(role_url, found):
            eventually(lambda: not database.review_queue.without_hash(1), "all are hashed")
        yield found


@contextlib.contextmanager
def prepared(url: str, found: Site) -> Iterator[None]:
    preparing = Preparing(DatabaseSettings(url, patience_s=0), found.parts.pictures)
    preparing.start()
    yield
    preparing.stop()


def held_scan(database: Database, scan_id: str) -> None:
    token = database.scans.open(ScanRequest(scan_id, "bkt"), 1, 0.5)
    record(database, [predicted(f"{scan_id}.jpg", 0.9)], token=token)
    database.scans.close(certificate_of({Outcome.PREDICTED: 1}, scan_id=scan_id, run_number=1, held="a flood"))


def measured(night: date, bucket: str = "", recall: float | None = 0.9) -> MeasuredRecall:
    share = None if recall is None else MeasuredShare(recall, recall - 0.05, recall + 0.02, recall)
    prevalence = MeasuredShare(0.0012, 0.0008, 0.0019, 0.0011)
    figures = RecallFigures(90_000, 40, 1234, 30, prevalence, share, share, 0.4, -5.0, 1.0)
    return MeasuredRecall(night, night, 1, 0.5, bucket, "", figures, 7, 2, 20, "1")


def check_figures(reader: TestClient, database: Database) -> None:
    """Measured recall is shown with its intervals, newest first."""
    assert "Not measured yet" in reader.get("/figures").text
    today = utc_clock().date()
    newest, older, ancient = (today - timedelta(days=days) for days in (1, 2, 300))
    database.recall.store([measured(older), measured(newest, "<pics>", None), measured(newest), measured(ancient)])
    shown = reader.get("/figures").text
    assert "Not measured yet" not in shown and str(ancient) not in shown
    assert shown.index(f"{newest} to {newest}") < shown.index("&lt;pics&gt;") < shown.index(f"{older} to {older}")
    for text in ("0.1200% (0.0800% to 0.1900%)", "90.0% (85.0% to 92.0%)", "40.0%", "1,234", "undefined"):
        assert text in shown, text
    assert "No night was compared with its past yet" in shown
    database.models.register(model(1))
    database.models.promote(1)
    tests = [
        DriftTest(bucket, night, kind, value, usual, p_value, 0.0014, 9)
        for bucket, night, kind, value, usual, p_value in (
            ("calm", newest, FLAGGED_SHARE, 0.001, 0.0011, 0.4),
            ("calm", newest, SCORES, 0.2, 0.1, 0.3),
            ("flooded", newest, FLAGGED_SHARE, 0.25, 0.0021, 1e-6),
            ("flooded", newest, SCORES, 0.2, 0.1, 0.3),
            ("flooded", older, FLAGGED_SHARE, 0.77, 0.0021, 1e-6),
            ("flooded", older, SCORES, 0.2, 0.1, 0.3),
            ("new", newest, FLAGGED_SHARE, 0.1, None, None),
            ("new", newest, SCORES, 0, None, None),
        )
    ]
    database.drift.store(tests, 1, 0.5)
    shown = reader.get("/figures").text.partition("<h2>Drift</h2>")[2]
    assert shown.index("flooded") < shown.index("calm")
    for text in ("25.0000%", "0.2100%", "1e-06", "unlike the past: flagged share<", "as usual", "too few nights"):
        assert text in shown, text
    assert "77.0000%" not in shown and "not known" in shown


def test_a_reviewer_s_session_a_lead_s_and_the_programs(page: Site, database: Database, tmp_path: Path) -> None:
    ann, lea = page.client("ann"), page.client("lea")
    assert ann.get("/healthz").text == "ok\n"
    shown = ann.get("/review").text
    batch = fields(shown, "images")[:2]
    assert len(set(batch)) == 2 and "twin-1.jpg" in shown and "twin-2.jpg" in shown
    for kind in ("covered", "clear", "original"):
        assert ann.get(f"/images/{batch[0]}/{kind}").headers["content-type"] == "image/jpeg"
    csrf = field(shown, "csrf")
    renewed = ann.post("/review/renew", data={"images": batch}, headers={"X-CSRF": csrf})
    assert renewed.json() == {"held": sorted(map(int, batch))}
    form = {"csrf": csrf, "submit_key": "one", "images": batch, "decision": "drug", "reason": "cannabis", "note": "n"}
    assert ann.post("/review/decide", data=form).headers["location"] == "/review?notice=saved"
    undone = ann.post("/review/undo", data={"csrf": csrf, "submit_key": "two"})
    assert undone.headers["location"] == "/review?notice=undone"
    shown = ann.get("/review").text
    assert sorted(set(fields(shown, "images"))) == sorted(batch)
    assert ann.post("/review/decide", data={**form, "submit_key": "three"}).status_code == 303
    skipping = {"csrf": csrf, "images": fields(ann.get("/review").text, "images")[:1], "next_after": ""}
    assert ann.post("/review/skip", data=skipping).status_code == 303
    # Corrected by herself, then on appeal by a lead.
    number = next(one.row.number for one in database.review_decisions.latest(1, reviewer="ann"))
    image = database.review_decisions.latest(1)[0].row.image_id
    correction = {"csrf": csrf, "number": number, "image": image, "decision": "not_drug", "submit_key": "four"}
    assert ann.post("/decided/correct", data=correction).headers["location"] == "/decided?notice=corrected"
    assert "Not drug" in ann.get("/decided").text
    lead_csrf = field(lea.get(f"/image/{image}").text, "csrf")
    appeal = {"csrf": lead_csrf, "decision": "drug", "reason": "other", "submit_key": "five"}
    assert lea.post(f"/image/{image}/appeal", data=appeal).headers["location"].endswith("notice=appealed")
    live = [row for row in database.review_decisions.of_image(image) if row.is_live]
    assert [(row.reviewer, row.decision, row.entered_by) for row in live] == [
        ("ann", ReviewDecision.NOT_DRUG, "flagged"),
        ("lea", ReviewDecision.DRUG, "appeal"),
    ]
    assert lea.get("/review?lead=1").status_code == 200 and "lea" in lea.get("/decisions").text
    # Held scans.
    held_scan(database, "flood-1")
    held_scan(database, "flood-2")
    assert "flood-1" in lea.get("/held").text
    for scan_id, decision in (("flood-1", "release"), ("flood-2", "discard")):
        sent = {"csrf": lead_csrf, "scan_id": scan_id, "decision": decision, "reason": "looked"}
        assert (
            lea.post("/held/decide", data=sent).headers["location"]
            == f"/held?notice={decision}{'d' if decision[-1] == 'e' else 'ed'}"
        )
    assert "No scan is held." in lea.get("/held").text
    check_figures(ann, database)
    log = lea.get("/log").text
    for action in ("login", "original", "undone", "corrected", "appeal", "release_scan", "discard_scan"):
        assert action in log, action
    assert lea.post("/logout", data={"csrf": lead_csrf}).status_code == 303
    assert lea.get("/log").headers["location"] == "/login"
    # The programs beside it.
    assert verify_log.main([]) == 0
    assert export_queue.main(["--out", str(tmp_path / "queue.csv")]) == 0
    assert account.main(["disable", "ann"]) == 0 and account.main(["list"]) == 0
    assert ann.get("/review").headers["location"] == "/login"
