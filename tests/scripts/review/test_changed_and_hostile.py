"""Objects that are replaced, deleted or hostile, through the page; and breaks and sessions that end in the middle."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient
from support.bombs import lossless_webp
from support.review_site import URL, Site, add_accounts, field, fields, fill, jpeg, opened, site
from support.scratch_bucket import ScratchBucket
from support.stored_rows import change, record

from sniffer.adapters.mysql.database import Database
from sniffer.core.records import Outcome, Result
from sniffer.core.review_records import DecisionRow
from sniffer.core.review_settings import ReviewSettings

SCRIPT = b"<script>document.title = 'taken'</script>"
HOSTILE = {
    "bomb.webp": (lossless_webp(16_000), "image/webp"),
    "half.jpg": (jpeg(3)[:100], "image/jpeg"),
    "script.svg": (b'<svg xmlns="http://www.w3.org/2000/svg">' + SCRIPT + b"</svg>", "image/svg+xml"),
    "page.png": (b"<!doctype html><html><body>" + SCRIPT + b"</body></html>", "image/png"),
    "script.gif": (b"GIF89a=1;/*" + SCRIPT + b"*/", "image/gif"),
    "picture-and-page.jpg": (jpeg(4) + b"<html>" + SCRIPT + b"PK\3\4", "text/html"),
}


@pytest.fixture
def page(database: Database, database_url: str) -> Iterator[Site]:
    add_accounts(database, ann="reviewer", lea="lead")
    with site(database_url) as found:
        yield found


def opened_alone(client: TestClient, *, after: str = "/review") -> tuple[str, dict[str, str]]:
    """The image that is open, and the form that decides it."""
    shown = client.get(after).text
    (image,) = sorted(set(fields(shown, "images")))
    keys = {"csrf": field(shown, "csrf"), "submit_key": field(shown, "submit_key")}
    return image, keys | {"images": image, "decision": "not_drug"}


def last(database: Database) -> DecisionRow:
    return database.review_decisions.latest(1)[0].row


def test_an_object_replaced_or_deleted_on_its_way_to_a_decision(
    page: Site, database: Database, bucket: ScratchBucket
) -> None:
    fill(database, bucket, {f"{n}.jpg": (jpeg(n), 0.9 - n / 100) for n in range(5)})
    ann, lea = page.client("ann"), page.client("lea")
    # Replaced between scan and look: no picture of either, and a decision nonetheless is one about the old bytes.
    bucket.put("0.jpg", jpeg(70))
    image, form = opened_alone(ann)
    for kind in ("covered", "clear"):
        refused = ann.get(f"/images/{image}/{kind}")
        assert refused.status_code == 409 and refused.text.startswith("replaced: it was replaced since it was scored")
    assert "was replaced since" in ann.get(f"/images/{image}/original").text
    assert ann.post("/review/decide", data=form).headers["location"] == "/review?notice=old"
    assert last(database).was_replaced
    # Between look and decision, before any scan saw it, and after one did.
    for key, is_scanned in (("1.jpg", False), ("2.jpg", True)):
        image, form = opened_alone(ann)
        assert ann.get(f"/images/{image}/covered").status_code == 200
        bucket.put(key, jpeg(80))
        if is_scanned:
            found = [one for some in opened(bucket.name).pages("") for one in some if one.key == key]
            record(database, [Result(found[0], Outcome.PREDICTED, 0.1, b"2" * 32)], scan_id="later")
            assert "This object has a newer version" in ann.get("/review").text
        saved = ann.post("/review/decide", data=form).headers["location"]
        assert saved == "/review?notice=old" and "an old version" in ann.get(saved).text
        assert last(database).was_replaced and last(database).image_id == int(image)
    assert ann.get("/decided").text.count("(of an old version)") == 3
    appeal = {"csrf": field(lea.get("/figures").text, "csrf"), "decision": "not_drug", "submit_key": "a"}
    assert lea.post(f"/image/{image}/appeal", data=appeal).status_code == 303 and last(database).was_replaced
    # Deleted.
    image, form = opened_alone(ann)
    bucket.delete("3.jpg")
    assert ann.get(f"/images/{image}/covered").text == "gone: it was deleted since it was scored"
    saved = ann.post("/review/decide", data=form).headers["location"]
    assert "The object was deleted meanwhile" in ann.get(saved).text and not last(database).was_replaced
    # What is as it was, says nothing; nor does a store that is away, and the decision is saved.
    image, form = opened_alone(ann)
    page.parts.pictures._buckets.clear()
    page.parts.pictures._open_bucket = lambda name: opened("there-is-no-such-bucket")
    assert ann.get(f"/images/{image}/covered").status_code == 409
    assert ann.post("/review/decide", data=form).headers["location"] == "/review?notice=saved"
    assert not last(database).was_replaced


def test_hostile_files_are_files_and_the_page_lives_on(page: Site, database: Database, bucket: ScratchBucket) -> None:
    fill(database, bucket, {key: (data, 0.9) for key, (data, _) in HOSTILE.items()} | {"good.jpg": (jpeg(1), 0.8)})
    for key, (data, kind) in HOSTILE.items():
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=data, ContentType=kind)
    ann = page.client("ann")
    met = set()
    for _ in HOSTILE:
        image, form = opened_alone(ann)
        found = database.review_images.get(int(image))
        assert found is not None
        met.add(found.key)
        covered, original = (ann.get(f"/images/{image}/{kind}") for kind in ("covered", "original"))
        is_picture = found.key == "picture-and-page.jpg"
        if is_picture:
            assert covered.headers["content-type"] == "image/jpeg" and SCRIPT not in covered.content
        else:
            assert covered.status_code == 409 and covered.text.startswith("unreadable: "), found.key
            assert covered.headers["content-type"].startswith("text/plain")
        assert original.content == HOSTILE[found.key][0]
        kind = "image/jpeg" if is_picture else "application/octet-stream"
        assert original.headers["content-type"] == kind, found.key
        how = "inline" if is_picture else "attachment"
        assert original.headers["content-disposition"].startswith(how)
        assert original.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert original.headers["x-content-type-options"] == "nosniff"
        assert ann.post("/review/decide", data=form).status_code == 303
    assert met == set(HOSTILE)
    image, _ = opened_alone(ann)
    assert ann.get(f"/images/{image}/covered").headers["content-type"] == "image/jpeg"


def test_a_break_is_suggested_and_a_session_that_ends_says_what_to_do(
    database: Database, database_url: str, bucket: ScratchBucket
) -> None:
    fill(database, bucket, {f"{n}.jpg": (jpeg(n), 0.9) for n in range(3)})
    add_accounts(database, ann="reviewer")
    with site(database_url, ReviewSettings(URL, break_after=2)) as page:
        ann = page.client("ann")
        for seen in range(3):
            image, form = opened_alone(ann)
            assert ("Time for a break." in ann.get("/review").text) == (seen >= 2)
            for _ in range(2):  # twice the same image is one exposure
                ann.get(f"/images/{image}/clear")
            if seen < 2:
                assert ann.post("/review/decide", data=form).status_code == 303
        change(database_url, "UPDATE review_sessions SET expires_at = NOW(6) - INTERVAL 1 DAY")
        refused = ann.post("/review/decide", data=form)
        assert refused.status_code == 401 and "nothing was saved. Sign in" in refused.text
        assert 'href="/review"' in refused.text and ann.get("/review").headers["location"] == "/login"
        assert len(database.review_decisions.latest(9)) == 2
        # Signed in again, the same image is open, and its form is saved.
        again = page.client("ann")
        same, form = opened_alone(again)
        assert same == image and again.post("/review/decide", data=form).status_code == 303
