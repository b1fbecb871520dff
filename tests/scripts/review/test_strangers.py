"""Who may do what in the review page: everything else is refused, and no answer says more than it must."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient
from support.review_site import PASSWORD, Site, add_accounts, field, fields, fill, jpeg, site
from support.scratch_bucket import ScratchBucket

from sniffer.adapters.mysql.database import Database

EVIL = "<script>alert(1)</script>\u202e'\".jpg"
PAGES = ("/review", "/decided", "/figures", "/held", "/log", "/decisions", "/image/1", "/review?lead=1")
PICTURES = ("/images/1/covered", "/images/1/clear", "/images/1/original")
FORMS = (
    "/review/decide",
    "/review/skip",
    "/review/undo",
    "/decided/correct",
    "/held/decide",
    "/image/1/appeal",
    "/logout",
)


@pytest.fixture
def page(database: Database, database_url: str, bucket: ScratchBucket) -> Iterator[Site]:
    fill(database, bucket, {EVIL: (jpeg(1), 0.9), "b.jpg": (jpeg(2), 0.8)})
    add_accounts(database, ann="reviewer", ben="reviewer", lea="lead", aud="auditor")
    with site(database_url) as found:
        yield found


def form_of(client: TestClient) -> dict[str, Any]:
    shown = client.get("/review").text
    return {
        "csrf": field(shown, "csrf"),
        "submit_key": field(shown, "submit_key"),
        "images": sorted(set(fields(shown, "images"))),
        "decision": "not_drug",
    }


def test_strangers_of_every_kind_are_refused(page: Site, database: Database) -> None:
    nobody, ann, ben, lea, aud = (page.client(name) for name in (None, "ann", "ben", "lea", "aud"))
    # Anonymous, with no cookie or a forged one.
    for cookies in ({}, {"sniffer-review-session": "A" * 43}, {"sniffer-review-session": "ann"}):
        nobody.cookies.update(cookies)
        assert {nobody.get(path).headers.get("location") for path in PAGES} == {"/login"}
        assert {nobody.get(path).status_code for path in PICTURES} == {401}
        assert {nobody.post(path, data={"csrf": "x"}).status_code for path in FORMS} == {401}
        assert nobody.post("/review/renew", data={"images": 1}).status_code == 401
    # A reviewer as a lead, an auditor as a reviewer.
    assert {ann.get(path).status_code for path in ("/held", "/log", "/decisions", "/image/1", "/review?lead=1")} == {
        403
    }
    assert {aud.get(path).status_code for path in ("/review", "/decided")} == {403}
    form = form_of(ann)
    own = {"csrf": form["csrf"], "submit_key": "k", "decision": "not_drug", "scan_id": "s", "reason": "r"}
    assert ann.post("/held/decide", data={**own, "decision": "release"}).status_code == 403
    assert ann.post(f"/image/{form['images'][0]}/appeal", data=own).status_code == 403
    csrf_of_aud = field(aud.get("/figures").text, "csrf")
    assert aud.post("/held/decide", data={**own, "csrf": csrf_of_aud, "decision": "release"}).status_code == 403
    # Somebody else's image, ids of every kind, and paths that lead elsewhere.
    mine = form["images"][0]
    assert ann.get(f"/images/{mine}/covered").status_code == 200
    assert {ben.get(f"/images/{mine}/{kind}").status_code for kind in ("covered", "clear", "original")} == {403}
    for odd in ("0", "-1", "1e3", "9" * 30, "1%00", "' OR 1=1"):
        assert ann.get(f"/images/{odd}/covered").status_code == 400, odd
    assert ann.get("/images/..%2f..%2fetc%2fpasswd/covered").status_code == 404
    assert ann.get(f"/images/{1 << 62}/covered").status_code == 403
    for odd in ("/static/../serve.py", "/static/%2e%2e/serve.py", "/static/..%2fserve.py", "/openapi.json", "/docs"):
        assert ann.get(odd).status_code == 404, odd
    taken = {**form_of(ben), "images": [mine]}
    refused = ben.post("/review/decide", data=taken)
    assert refused.status_code == 409 and "Nothing was saved" in refused.text
    # Forms of another session, of another site, and with a method of another kind.
    assert ann.post("/review/decide", data={**form, "csrf": field(lea.get("/review").text, "csrf")}).status_code == 403
    assert ann.post("/review/decide", data={**form, "csrf": ""}).status_code == 400
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert ann.post("/review/decide", data=form, headers=headers).status_code == 403
    assert ann.get("/review", headers={"Host": "evil.example"}).status_code == 421
    assert ann.put("/review/decide").status_code == 405
    assert ann.post("/review/decide", content=b"x", headers={"Content-Length": str(1 << 21)}).status_code == 413
    assert database.review_decisions.latest(10) == []
    assert ann.post("/review/decide", data=form).status_code == 303
    refusals = [entry for entry in database.review_log.latest(100) if entry.action == "refused"]
    assert {entry.who for entry in refusals} == {"ann", "ben", "aud"}


def test_stored_texts_are_shown_and_do_nothing(page: Site, database: Database) -> None:
    lea = page.client("lea")
    form = form_of(lea) | {"decision": "drug", "reason": "other", "note": EVIL}
    shown = lea.get("/review")
    assert lea.post("/review/decide", data=form).status_code == 303
    image_id = form["images"][0]
    for path in ("/review", "/decided", "/decisions", f"/image/{image_id}", "/log", "/figures"):
        answer = lea.get(path) if path != "/review" else shown
        assert "<script>alert" not in answer.text and "\u202e" not in answer.text, path
        assert "&lt;script&gt;alert" in answer.text or path in ("/log", "/figures"), path
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
        assert answer.headers["cache-control"] == "no-store" and answer.headers["x-content-type-options"] == "nosniff"
        assert "<style" not in answer.text and " style=" not in answer.text and " onclick=" not in answer.text
    cookie = page.client().post("/login", data={"name": "lea", "password": PASSWORD}).headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie


def test_guessing_passwords_ends_after_a_few(page: Site, database: Database) -> None:
    client = page.client()
    answers = [client.post("/login", data={"name": "ann", "password": f"guess {n}"}).status_code for n in range(6)]
    assert answers == [401] * 5 + [429]
    # Also with the right one, from there; what ann has open goes on, and others sign in.
    assert client.post("/login", data={"name": "ann", "password": PASSWORD}).status_code == 429
    assert page.client("ben").get("/review").status_code == 200
    assert client.post("/login", data={"name": "nobody", "password": PASSWORD}).status_code == 401
    database.review_accounts.disable("ben")
    assert client.post("/login", data={"name": "ben", "password": PASSWORD}).status_code == 401
    assert [entry.action for entry in database.review_log.latest(20)].count("login_failed") == 7
