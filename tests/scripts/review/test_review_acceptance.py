"""A working day in a real browser: a thousand images by keyboard, leases that last, and a session that does not."""

from __future__ import annotations

import io
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from support.programs import eventually
from support.review_browser import READY, TOLD, press, shown, sign_in
from support.review_site import add_accounts, fill, jpeg, review_process
from support.scratch_bucket import ScratchBucket
from support.stored_rows import change, rows

from sniffer.adapters.mysql.database import Database
from sniffer_local.browser import PROGRAMS, Page, open_browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not any(map(shutil.which, PROGRAMS)), reason="no Chromium is installed"),
]

ALIKE = 3
KEYS = "[...document.querySelectorAll('figcaption .key')].map(one => one.textContent)"
CHOSEN = "document.querySelector('figure.chosen img')"


def picture(kind: int, variant: int) -> bytes:
    """One of its kind, small; variants differ in brightness, size and what JPEG leaves of them."""
    coarse = np.random.default_rng(kind).integers(0, 230, (8, 8, 3), dtype=np.uint8) + np.uint8(5 * variant)
    image = Image.fromarray(coarse).resize((96 + 8 * variant, 96 + 8 * variant), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=92 - 4 * variant)
    return out.getvalue()


def is_drug(kind: int) -> bool:
    return kind % 3 == 0


def kind_of(key: str) -> int:
    found = re.search(r"(\d+)-\d\.jpg$", key)
    assert found is not None, key
    return int(found[1])


@pytest.mark.timeout(2400)
@pytest.mark.parametrize("images", [100, 1000])
def test_images_of_which_a_third_are_look_alikes_are_decided_by_few_keys_and_looks(
    images: int, database: Database, database_url: str, bucket: ScratchBucket
) -> None:
    # 30 % look like one that is there already: of three alike, two are too many.
    in_threes = images * 3 // 20
    kinds = [kind for kind in range(in_threes) for _ in range(ALIKE)]
    kinds += range(in_threes, in_threes + images - len(kinds))
    order = np.random.default_rng(1).permutation(images)
    objects = {
        f"{kind:04}-{number % ALIKE}.jpg": (picture(kind, number % ALIKE), 0.6 + 0.3 * float(order[number]) / images)
        for number, kind in enumerate(kinds)
    }
    assert len(objects) == images and len(set(kinds)) == images * 7 // 10
    fill(database, bucket, objects)
    add_accounts(database, ann="reviewer")
    with review_process(database_url) as (_, url), open_browser() as page:
        eventually(lambda: not database.review_queue.without_hash(1), "all are hashed", 600)
        sign_in(page, url, "ann")
        looks = 0
        while shown(page):
            looks += decide(page)
        assert page.complaints == []
    ((decided, decisions),) = rows(
        database_url, "SELECT COUNT(DISTINCT image_id), COUNT(DISTINCT submit_key) FROM review_decisions"
    )
    assert decided == images and int(str(decisions)) <= images * 7 // 10
    ((seen,),) = rows(database_url, "SELECT COUNT(DISTINCT image_id) FROM review_looks")
    assert 0 < looks == int(str(seen)) <= images // 2
    assert rows(database_url, "SELECT COUNT(*) FROM review_decisions WHERE was_unblurred") == [(seen,)]
    found = rows(database_url, "SELECT object_key, decision FROM review_decisions JOIN images USING (image_id)")
    for key, said in found:
        text = key.decode() if isinstance(key, bytes) else str(key)
        assert said == ("drug" if is_drug(kind_of(text)) else "not_drug"), text
    assert database.review_queue.backlog() == 0


def decide(page: Page) -> int:
    """What is open, as a person does who knows every second kind at once, and looks at one image of the others."""
    kinds = [kind_of(key) for key in page.run(KEYS)]
    looks = kinds[0] % 2
    if looks:
        page.hold("v")
        page.wait_for(f"{CHOSEN}.src.endsWith('/clear') && {CHOSEN}.complete && {CHOSEN}.naturalWidth > 1")
        page.let_go("v")
    for kind in kinds[1:]:
        page.press("ArrowRight")
        if kind != kinds[0]:
            page.press("x")
    if is_drug(kinds[0]):
        page.press(str(1 + kinds[0] % 6))
    press(page, "d" if is_drug(kinds[0]) else "n")
    assert "Saved." in page.run(TOLD)
    return looks


def test_an_open_page_keeps_its_lease_and_says_when_it_is_lost(
    database: Database, database_url: str, bucket: ScratchBucket
) -> None:
    fill(database, bucket, {f"{number}.jpg": (jpeg(number), 0.9) for number in range(2)})
    add_accounts(database, ann="reviewer", ben="reviewer")
    until = "SELECT MAX(lease_until) FROM review_leases WHERE reviewer = 'ann'"
    with review_process(database_url, SNIFFER_REVIEW_LEASE_S="5") as (_, url), open_browser() as page:
        sign_in(page, url, "ann")
        (mine,) = shown(page)
        (first,) = rows(database_url, until)
        later = f"SELECT MAX(lease_until) > '{first[0]}' + INTERVAL 6 SECOND FROM review_leases WHERE reviewer = 'ann'"
        eventually(lambda: rows(database_url, later) == [(1,)], "it was renewed, longer than a lease lasts", 30)
        assert [item.image_id for item in database.review_leases.held("ann")] == [int(mine)]
        assert database.review_leases.take([int(mine)], "ben", 60) == set()
        # Somebody else has it: the page says so, and a decision is refused and not lost in silence.
        change(database_url, f"UPDATE review_leases SET reviewer = 'ben' WHERE image_id = {mine}")
        page.wait_for("document.getElementById('lease').textContent.includes('somebody else may have it')")
        press(page, "n")
        assert "Nothing was saved" in page.run("document.querySelector('main').textContent")
        # A page that is closed gives its images back by itself.
        page.open(f"{url}/review")
        page.wait_for(READY)
        assert database.review_leases.held("ann") != []
        page.open("about:blank")
        eventually(lambda: database.review_leases.held("ann") == [], "the lease has ended", 30)


def test_a_note_outlives_the_session_in_which_it_was_written(
    database: Database, database_url: str, bucket: ScratchBucket
) -> None:
    fill(database, bucket, {f"{number}.jpg": (jpeg(number), 0.9) for number in range(2)})
    add_accounts(database, ann="reviewer", ben="reviewer")
    with review_process(database_url) as (_, url), open_browser() as page:
        sign_in(page, url, "ann")
        (mine,) = shown(page)
        page.press("m")
        page.type("pills in a bag")
        page.press("Escape")
        change(database_url, "DELETE FROM review_sessions")
        press(page, "n")
        assert "nothing was saved. Sign in" in page.run("document.querySelector('[role=alert]').textContent")
        assert rows(database_url, "SELECT COUNT(*) FROM review_decisions") == [(0,)]
        sign_in(page, url, "ann")
        assert shown(page) == [mine]
        assert page.run("document.querySelector('[name=note]').value") == "pills in a bag"
        press(page, "n")
        (row,) = database.review_decisions.of_image(int(mine))
        assert row.note == "pills in a bag"
        # The next image's note is empty, and so is everybody else's.
        assert page.run("document.querySelector('[name=note]').value") == ""
        assert page.run("Object.keys(sessionStorage).filter(one => one.startsWith('note ')).length") == 0
