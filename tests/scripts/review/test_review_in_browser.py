"""The review page in a real browser, over a real process: by keyboard alone, two at once, and with nothing lost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from support.accessibility import serious_findings
from support.programs import eventually
from support.review_browser import READY, TOLD, press, shown, sign_in
from support.review_site import add_accounts, fill, jpeg, review_process
from support.scratch_bucket import ScratchBucket
from support.stored_rows import rows

from sniffer.adapters.mysql.database import Database
from sniffer.core.review_records import ReviewDecision
from sniffer_local.browser import PROGRAMS, open_browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not any(map(shutil.which, PROGRAMS)), reason="no Chromium is installed"),
]


@pytest.fixture
def page_url(database: Database, database_url: str, bucket: ScratchBucket) -> Iterator[str]:
    objects = {f"{number}.jpg": (jpeg(number), 0.6 + number / 100) for number in range(6)}
    objects |= {f"twin-{number}.jpg": (jpeg(50, variant=number), 0.9 + number / 100) for number in (1, 2, 3)}
    fill(database, bucket, objects)
    add_accounts(database, ann="reviewer", ben="reviewer", lea="lead")
    with review_process(database_url) as (_, url):
        eventually(lambda: not database.review_queue.without_hash(1), "all are hashed")
        yield url


def test_a_whole_session_by_keyboard(page_url: str, database: Database) -> None:
    with open_browser() as page:
        page.resize(1280, 900)
        sign_in(page, page_url, "ann")
        batch = shown(page)
        assert len(batch) == 3
        # Blurred and grey until a key is held, and again when it is let go; the look is recorded.
        image = "document.querySelector('figure.chosen img')"
        assert page.run(f"{image}.src.endsWith('/covered') && {image}.naturalWidth > 100")
        page.hold("v")
        page.wait_for(f"{image}.src.endsWith('/clear') && {image}.complete && {image}.naturalWidth > 100")
        page.let_go("v")
        page.wait_for(f"{image}.src.endsWith('/covered')")
        assert database.review_looks.seen_by("ann", [int(one) for one in batch]) == {int(batch[0])}
        # The second one does not belong there; the reason is the second; a note, in which keys are letters.
        page.press("ArrowRight")
        page.press("x")
        page.press("2")
        page.press("m")
        page.type("dnz")
        page.press("Escape")
        press(page, "d")
        assert "Saved." in page.run(TOLD) and shown(page) == [batch[1]]
        rows_ = [row for one in batch for row in database.review_decisions.of_image(int(one))]
        assert [(row.image_id, row.reason, row.note, row.was_unblurred) for row in rows_] == [
            (int(batch[0]), "cannabis", "dnz", True),
            (int(batch[2]), "cannabis", "dnz", False),
        ]
        press(page, "n")
        press(page, "z")
        assert "Taken back" in page.run(TOLD) and shown(page) == [batch[1]]
        press(page, "u")
        seen = shown(page)
        press(page, "j")
        assert shown(page) != seen
        # The rest, by one key each.
        while shown(page):
            press(page, "n")
        assert database.review_queue.backlog() == 0
        said = [row.decision for (number,) in _ids(database) for row in database.review_decisions.of_image(number)]
        assert said.count(ReviewDecision.DRUG) == 2 and said.count(ReviewDecision.UNSURE) == 1
        press(page, "k")
        assert page.run("location.pathname") == "/decided"
        assert page.complaints == []


def _ids(database: Database) -> list[tuple[int]]:
    return [(number,) for number in range(1, 10) if database.review_images.get(number)]


def test_two_reviewers_at_once_never_decide_one_image(page_url: str, database_url: str) -> None:
    with open_browser() as one, open_browser() as other:
        sign_in(one, page_url, "ann")
        sign_in(other, page_url, "ben")
        while shown(one) or shown(other):
            assert not set(shown(one)) & set(shown(other))
            for page in (one, other):
                if shown(page):
                    press(page, "n")
    found = rows(database_url, "SELECT image_id, COUNT(*) FROM review_decisions GROUP BY image_id")
    assert len(found) == 9 and {count for _, count in found} == {1}
    assert len(rows(database_url, "SELECT DISTINCT reviewer FROM review_decisions")) == 2


def test_what_was_shown_as_saved_survives_a_killed_process(
    database: Database, database_url: str, bucket: ScratchBucket
) -> None:
    fill(database, bucket, {f"{number}.jpg": (jpeg(number), 0.9) for number in range(4)})
    add_accounts(database, ann="reviewer")
    with open_browser() as page:
        saved = 0
        with review_process(database_url) as (program, url):
            sign_in(page, url, "ann")
            while saved < 2:
                press(page, "n")
                assert "Saved." in page.run(TOLD)
                saved += 1
            program.process.kill()
            program.process.wait()
        assert rows(database_url, "SELECT COUNT(*) FROM review_decisions") == [(saved,)]
        # Another process goes on with the same session, and what was open is open.
        open_before = shown(page)
        with review_process(database_url) as (_, again):
            page.open(f"{again}/review")
            page.wait_for(READY)
            cookies_hold = page.run("location.pathname") == "/review"
            assert cookies_hold and shown(page) == open_before


def test_no_page_has_a_serious_barrier(page_url: str) -> None:
    with open_browser() as page:
        page.open(f"{page_url}/login")
        page.wait_for(READY)
        # The tool itself is no script of the page's: its policy would not let it in.
        page._call("Page.setBypassCSP", {"enabled": True})
        for width in (1280, 390):
            page.resize(width, 900)
            for scheme in ("light", "dark"):
                page.prefer(scheme)
                page.open(f"{page_url}/login")
                page.wait_for(READY)
                if page.run("location.pathname") == "/login":
                    assert serious_findings(page) == []
                    sign_in(page, page_url, "lea")
                for path in (
                    "/review",
                    "/decided",
                    "/figures",
                    "/review?lead=1",
                    "/held",
                    "/decisions",
                    "/log",
                    "/image/1",
                ):
                    page.open(f"{page_url}{path}")
                    page.wait_for(READY)
                    assert serious_findings(page) == [], path
                    assert page.run("document.documentElement.scrollWidth <= innerWidth"), path
