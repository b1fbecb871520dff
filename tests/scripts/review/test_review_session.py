"""A reviewer's way through the queue, by forms alone: what is shown, saved, skipped, corrected and taken back."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import pytest
from support.review_site import Site, add_accounts, field, fields, fill, jpeg, site
from support.scratch_bucket import ScratchBucket

from sniffer.adapters.mysql.database import Database
from sniffer.core.review_records import EnteredBy, ReviewDecision, counting_decision


@pytest.fixture
def page(database: Database, database_url: str, bucket: ScratchBucket) -> Iterator[Site]:
    objects = {f"{number}.jpg": (jpeg(number), 0.6 + number / 100) for number in range(3)}
    objects |= {f"twin-{number}.jpg": (jpeg(50, variant=number), 0.9 + number / 100) for number in (1, 2, 3)}
    fill(database, bucket, objects)
    add_accounts(database, ann="reviewer", ben="reviewer", lea="lead", aud="auditor")
    with site(database_url) as found:
        hash_all(found, database)
        yield found


def hash_all(page: Site, database: Database) -> None:
    for item in database.review_queue.without_hash(100):
        image = database.review_images.get(item.image_id)
        assert image is not None
        database.near_duplicates.store({item.image_id: page.parts.pictures.small(image).near_hash})


def test_a_session_from_signing_in_to_taking_back(page: Site, database: Database) -> None:
    ann, ben = page.client("ann"), page.client("ben")
    shown = ann.get("/review").text
    batch = fields(shown, "images")[:3]
    assert len(set(batch)) == 3 and "twin-3.jpg" in shown
    covered = ann.get(f"/images/{batch[0]}/covered")
    assert covered.headers["content-type"] == "image/jpeg" and covered.content[:2] == b"\xff\xd8"
    others = ben.get("/review").text
    assert not set(batch) & set(fields(others, "images")) and "2.jpg" in others
    form = {
        "csrf": field(shown, "csrf"),
        "submit_key": field(shown, "submit_key"),
        "images": batch,
        "left_out": batch[2:],
        "decision": "drug",
        "reason": "cannabis",
        "note": "leaves",
    }
    ann.get(f"/images/{batch[0]}/clear")
    saved = ann.post("/review/decide", data=form)
    assert saved.headers["location"] == "/review?notice=saved&alone=1"
    assert ann.post("/review/decide", data=form).headers["location"] == saved.headers["location"]
    rows = [row for image_id in batch for row in database.review_decisions.of_image(int(image_id))]
    assert [(row.decision, row.reviewer, row.note, row.was_unblurred) for row in rows] == [
        (ReviewDecision.DRUG, "ann", "leaves", True),
        (ReviewDecision.DRUG, "ann", "leaves", False),
    ]
    assert len({row.batch for row in rows}) == 1 and rows[0].batch
    alone = ann.get(saved.headers["location"]).text
    assert set(fields(alone, "images")) == {batch[2]} and "Saved." in alone
    undone = ann.post(
        "/review/undo", data={"csrf": field(alone, "csrf"), "submit_key": field(alone, "submit_key") + "-u"}
    )
    again = ann.get(undone.headers["location"]).text
    assert "Taken back" in again and set(fields(again, "images")) == set(batch[:2])
    skipped = ann.post(
        "/review/skip",
        data={"csrf": field(again, "csrf"), "images": batch, "next_after": field(again, "next_after")},
    )
    assert not set(batch) & set(fields(ann.get(skipped.headers["location"]).text, "images"))


def test_look_alikes_that_were_skipped_come_again_only_when_the_queue_begins_again(
    page: Site, database: Database, bucket: ScratchBucket
) -> None:
    fill(database, bucket, {"twin-4.jpg": (jpeg(50, variant=4), 0.51)})  # below all others
    hash_all(page, database)
    ann = page.client("ann")

    def send(path: str, shown: str, **more: str) -> str:
        form = {name: field(shown, name) for name in ("csrf", "submit_key")} | {"images": images(shown)}
        action = next(one for one in re.findall(r'action="([^"]+)"', shown) if one.startswith(path))
        answer = ann.post(html.unescape(action), data=form | more)
        while answer.status_code == 303:
            answer = ann.get(answer.headers["location"])
        return str(answer.text)

    def images(shown: str) -> list[str]:
        return [*dict.fromkeys(fields(shown, "images"))]  # the same in each form

    shown = ann.get("/review").text
    twins = set(images(shown))
    assert len(twins) == 4
    shown = send("/review/skip", shown, next_after=field(shown, "next_after"))
    met = []
    for _ in range(3):
        assert not twins & set(images(shown))
        met += images(shown)
        shown = send("/review/decide", shown, decision="not_drug")
    assert len(set(met)) == 3 and database.review_queue.backlog() == 4
    assert set(images(shown)) == twins, "nothing is kept from her for good"


def test_a_lead_settles_also_what_she_decided_herself(page: Site, database: Database) -> None:
    lea = page.client("lea")
    shown = lea.get("/review").text
    image, *others = dict.fromkeys(fields(shown, "images"))
    csrf = field(shown, "csrf")
    form = {"csrf": csrf, "submit_key": "one", "images": [image, *others], "left_out": others, "decision": "not_drug"}
    assert lea.post("/review/decide", data=form).status_code == 303
    said = []
    for key, decision in (("two", "drug"), ("three", "not_drug")):
        appeal = {"csrf": csrf, "decision": decision, "reason": "other", "submit_key": key}
        answer = lea.post(f"/image/{image}/appeal", data=appeal)
        assert answer.status_code == 303, answer.text
        live = [row for row in database.review_decisions.of_image(int(image)) if row.is_live]
        counts = counting_decision(live)
        assert counts is not None
        said.append((counts.decision, counts.entered_by, len(live)))
    assert said == [(ReviewDecision.DRUG, EnteredBy.APPEAL, 2), (ReviewDecision.NOT_DRUG, EnteredBy.APPEAL, 2)]
