"""Decisions by webhook: signed ones are stored, once; whatever else comes is refused, and its body is in no log."""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from httpx2 import Response
from starlette.testclient import TestClient
from support.database_servers import DatabaseServer
from support.database_users import url_of, users
from support.review_site import URL, Site, fill, jpeg, site
from support.scratch_bucket import ScratchBucket

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import SettingsError
from sniffer.core.review_records import QueueFilter, ReviewDecision
from sniffer.core.review_settings import ReviewSettings, review_settings
from sniffer.review.signatures import TOLERANCE_S, sign
from sniffer.review.web.app import make_app
from sniffer.review.web.shield import MOST_BODY_BYTES

SECRET = "not-for-any-stranger-" + "s" * 32
NOTE = "a-note-that-is-for-no-log"
COOP = generate_private_key(65537, 2048)
COOP_PEM = COOP.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def page(
    database_server: DatabaseServer, database: Database, database_url: str, bucket: ScratchBucket
) -> Iterator[Site]:
    """With the rights of the page's role and no others."""
    fill(database, bucket, {"a.jpg": (jpeg(1), 0.9), "b.jpg": (jpeg(2), 0.8)})
    settings = ReviewSettings(URL, webhook_secret=SECRET, coop_key=COOP_PEM)
    with (
        users(database_server, database_url, "sniffer_review"),
        site(url_of(database_url, "sniffer_review"), settings) as found,
    ):
        yield at(found, NOW)


def at(page: Site, now: datetime) -> Site:
    """The page when its clock says that."""
    parts = dataclasses.replace(page.parts, clock=lambda: now)
    return Site(make_app(parts), parts)


def waiting(database: Database) -> list[int]:
    return [item.image_id for item in database.review_queue.page(QueueFilter(), "x", 10).items]


def body_of(image_id: int | str, decision: str = "drug", **more: object) -> bytes:
    one = {"image_id": image_id, "decision": decision, "note": NOTE, **more}
    return json.dumps({"reviewer": "tool", "decisions": [one]}).encode()


def post(client: TestClient, body: bytes, header: str | None = None, **headers: str) -> Response:
    signature = sign(body, SECRET, NOW.timestamp()) if header is None else header
    return client.post("/webhook", content=body, headers={"X-Sniffer-Signature": signature, **headers})


def test_a_signed_decision_is_stored_once_whatever_comes_between(page: Site, database: Database) -> None:
    client, (image_id, _) = page.client(), waiting(database)
    first = body_of(image_id, reason="cannabis")
    # It is a server's: no cookie, and no matter which site it says it is from.
    done = post(client, first, Origin="https://tool.example.com", **{"Sec-Fetch-Site": "cross-site"})
    assert (done.status_code, done.json()) == (200, {"added": 1, "unchanged": 0, "refused": []})
    assert post(client, first).json()["added"] == 0
    later = NOW + timedelta(seconds=2)
    second = body_of(image_id, "not_drug")
    fixed = post(at(page, later).client(), second, sign(second, SECRET, later.timestamp()))
    assert fixed.json()["added"] == 1, fixed.text
    # The first, played back after the correction, brings nothing back.
    assert post(client, first).json()["added"] == 0
    *_, newest = database.review_decisions.of_image(image_id)
    assert newest.decision is ReviewDecision.NOT_DRUG and newest.reviewer == "tool" and newest.is_live
    assert image_id not in waiting(database)
    logged = [entry for entry in database.review_log.latest(20) if entry.action == "webhook"]
    assert len(logged) == 2


def test_whatever_is_not_right_is_refused_and_its_body_in_no_log(
    page: Site, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client, (image_id, other) = page.client(), waiting(database)
    good = body_of(image_id, reason="other")
    now = NOW.timestamp()
    forged = ["", "t=1,v1=zz", sign(good, SECRET[::-1], now), sign(good + b" ", SECRET, now)]
    forged += [sign(good, SECRET, now + skew) for skew in (TOLERANCE_S + 1, -TOLERANCE_S - 1)]
    for header in forged:
        answer = post(client, good, header)
        assert (answer.status_code, answer.text) == (401, "not signed as it must be\n"), header
    wrong = {
        "is no image_id": body_of(-1, reason="other"),
        "is no decision": body_of(image_id, "maybe"),
        "needs a reason": body_of(image_id),
        "unknown field": body_of(image_id, "not_drug", role="lead"),
        "not what the webhook takes": NOTE.encode(),
    }
    for said, body in wrong.items():
        answer = post(client, body)
        assert answer.status_code == 400 and said in answer.json()["error"], answer.text
    # One wrong row: nothing of the message. An image that is not there: the others are stored, and it is named.
    rows = [{"image_id": other, "decision": "not_drug"}, {"image_id": other, "decision": "unsure"}]
    assert post(client, json.dumps({"reviewer": "tool", "decisions": rows}).encode()).status_code == 400
    assert database.review_decisions.latest(10) == []
    rows[1]["image_id"] = 987654
    part = post(client, json.dumps({"reviewer": "tool", "decisions": rows}).encode())
    assert part.status_code == 200 and part.json()["added"] == 1
    assert len(part.json()["refused"]) == 1 and "987654" in part.json()["refused"][0]
    # Too long, by what it says and by what comes; and with no word about it.
    long = b" " * (MOST_BODY_BYTES + 1)
    assert post(client, long).status_code == 413
    assert post(client, long, **{"Content-Length": "5"}).status_code == 413
    assert client.post("/webhook", content=iter([good])).status_code == 411
    assert client.get("/webhook").status_code == 405
    assert post(client, good, Host="evil.example").status_code == 421
    logs = caplog.text + repr(database.review_log.latest(100))
    assert NOTE not in logs and SECRET not in logs
    assert [entry.action for entry in database.review_log.latest(100)].count("webhook_refused") == len(forged)
    refused = [record for record in caplog.records if record.levelno >= logging.WARNING and "webhook" in record.message]
    assert len(refused) == len(forged) + len(wrong) + 1 + 1 + 1


def test_a_flood_of_forged_messages_does_not_fill_the_log_nor_close_the_door(page: Site, database: Database) -> None:
    client, (image_id, _) = page.client(), waiting(database)
    for _ in range(33):
        assert post(client, b"{}", "t=1,v1=" + "0" * 64).status_code == 401
    assert [entry.action for entry in database.review_log.latest(100)].count("webhook_refused") == 30
    assert post(client, body_of(image_id, "not_drug")).json()["added"] == 1


def test_coops_callback_is_known_by_its_key(page: Site, database: Database) -> None:
    client, (image_id, _) = page.client(), waiting(database)
    action = {"item": {"id": str(image_id)}, "custom": {"decision": "not_drug"}, "actorEmail": "mo@example.com"}
    body = json.dumps(action).encode()
    signature = base64.b64encode(COOP.sign(body, PKCS1v15(), SHA256())).decode()
    for header, sent in (("", body), (signature, body + b" "), ("%%%", body)):
        answer = client.post("/webhook/coop", content=sent, headers={"Coop-Signature": header})
        assert answer.status_code == 401
    # Ours is no key to that door, nor theirs to ours.
    assert client.post("/webhook/coop", content=body, headers={"X-Sniffer-Signature": sign(body, SECRET, 1)}).is_error
    assert post(client, body, signature).status_code == 401
    answers = [client.post("/webhook/coop", content=body, headers={"Coop-Signature": signature}) for _ in range(2)]
    assert [answer.json()["added"] for answer in answers] == [1, 0]
    [row] = database.review_decisions.of_image(image_id)
    assert row.reviewer == "mo@example.com"


def test_without_a_secret_there_is_no_door(page: Site, database: Database) -> None:
    parts = dataclasses.replace(page.parts, settings=ReviewSettings(URL))
    client, body = Site(make_app(parts), parts).client(), body_of(1, "not_drug")
    assert post(client, body, sign(body, " " * 32, NOW.timestamp())).status_code == 404
    assert client.post("/webhook/coop", content=body).status_code == 404
    with pytest.raises(SettingsError, match="SNIFFER_REVIEW_WEBHOOK_SECRET needs at least 32 characters"):
        review_settings("127.0.0.1", 8090, {"SNIFFER_REVIEW_WEBHOOK_SECRET": "short"})
