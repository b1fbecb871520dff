"""The simulated reviewer decides on the page as a person in a browser would: over HTTP, by the page's own forms."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from support.review_site import PASSWORD, Site, add_accounts, cheap_hash, end_decoder, fill, jpeg, site
from support.scratch_bucket import ScratchBucket

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import SettingsError, TransientError
from sniffer.core.review_records import EVERYTHING, Reason, ReviewDecision, SecondReview, counting_decision
from sniffer.core.review_settings import ReviewSettings
from sniffer.core.text import printable
from sniffer_local.closed_loop import ReviewedBucket, has_reviewed, review_a_part
from sniffer_local.review import SIMULATED, ReviewSite, make_accounts, prepare_site
from sniffer_local.review_browser import ReviewBrowser
from sniffer_local.sample_bucket import SampleTruth
from sniffer_local.simulated_reviewer import SimulatedReviewer

KEYS = ("\N{PILL} a.jpg", " b .jpg ", 'it\'s "c" & <d>.jpg', "e\u202e.jpg", "f.jpg", "g.jpg")
TWINS = ("twin-1.jpg", "twin-2.jpg", "twin-3.jpg")
SIZE = (96, 72)
"""Of pictures, which the page decodes each time: small ones cost less."""
TRUTH = {key: Reason.CANNABIS if number % 2 else None for number, key in enumerate(KEYS)}
TRUTH |= dict(zip(TWINS, (Reason.OTHER, None, Reason.OTHER), strict=True))


@pytest.fixture(scope="module", autouse=True)
def decoder() -> Iterator[None]:
    yield
    end_decoder()


@contextlib.contextmanager
def served(database_url: str, second: float = 0.0) -> Iterator[Site]:
    """The page of this process, for anybody on the loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with site(database_url, ReviewSettings(url, second=SecondReview(second, "s" * 32))) as found:
            config = uvicorn.Config(found.app, lifespan="off", log_config=None)  # type: ignore[arg-type]
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, args=([listener],))
            thread.start()
            try:
                yield found
            finally:
                server.should_exit = True
                thread.join()


APART = (TWINS[0], *KEYS[:3], TWINS[1], *KEYS[3:], TWINS[2])
"""The twins first, amid and last, as they may be in the queue."""


def put(
    database: Database, bucket: ScratchBucket, order: tuple[str, ...] = (*KEYS, *TWINS)
) -> dict[str, Reason | None]:
    """All images, flagged, the last ones with the highest scores; returns the truth as the page names them."""
    pictures = {key: jpeg(number, size=SIZE) for number, key in enumerate(KEYS)}
    pictures |= {key: jpeg(50, variant=number, size=SIZE) for number, key in enumerate(TWINS)}
    fill(database, bucket, {key: (pictures[key], 0.6 + index / 100) for index, key in enumerate(order)})
    add_accounts(database, ann="reviewer", ben="reviewer", lea="lead")
    return {f"{bucket.name}/{printable(key)}": reason for key, reason in TRUTH.items()}


def hash_all(database: Database, page: Site) -> None:
    for item in database.review_queue.without_hash(100):
        image = database.review_images.get(item.image_id)
        assert image is not None
        database.near_duplicates.store({item.image_id: page.parts.pictures.small(image).near_hash})


def session(page: Site, reviewer: SimulatedReviewer, *, for_lead: bool = False) -> tuple[int, int]:
    """Decided images, and how many of them wrongly."""
    with ReviewBrowser(page.parts.settings.url) as browser:
        browser.log_in(reviewer.name, PASSWORD)
        counts = reviewer.review(browser, for_lead=for_lead)
        browser.log_out()
    return counts.decided, counts.wrong


def test_two_reviewers_and_a_lead_decide_all_that_waits(
    database: Database, database_url: str, bucket: ScratchBucket
) -> None:
    truth = put(database, bucket)
    seed = next(seed for seed in range(100) if wrong("ann", truth, seed) ^ wrong("ben", truth, seed))
    ann, ben, lea = (SimulatedReviewer(name, truth, seed, 0.2) for name in ("ann", "ben", "lea"))
    with served(database_url, second=1.0) as page:
        hash_all(database, page)
        assert session(page, ann)[0] == session(page, ben)[0] == len(TRUTH)
        rows = [row for each in database.review_decisions.live_pages() for row in each]
        disputed = {one.row.image_id for one in rows if len({row.row.decision for row in rows if same(row, one)}) > 1}
        assert disputed
        settled, _ = session(page, lea, for_lead=True)
        assert settled == len(disputed)
    assert database.review_queue.backlog(EVERYTHING) == database.review_queue.backlog(EVERYTHING, for_lead=True) == 0
    for one in rows:
        where = f"{one.bucket}/{printable(one.key)}"
        says = (ann if one.row.reviewer == "ann" else ben).says(where)
        # Of the look-alikes the first one's error is all of theirs, as one key was pressed for them.
        if one.key not in TWINS:
            assert (one.row.decision, one.row.reason) == (says.decision, says.reason)
        counts = counting_decision(database.review_decisions.of_image(one.row.image_id))
        assert counts is not None
        if one.row.image_id in disputed:
            assert (counts.reviewer, counts.decision) == ("lea", lea.says(where).decision)


def wrong(name: str, truth: dict[str, Reason | None], seed: int) -> set[str]:
    """The single images about which that reviewer errs; names are of the test's own bucket, so each run is alike."""
    reviewer = SimulatedReviewer(name, truth, seed, 0.2)
    return {where for where in truth if "twin" not in where and reviewer.says(where).is_wrong}


def same(one: object, other: object) -> bool:
    """Whether two rows are of the same image."""
    return bool(one.row.image_id == other.row.image_id)  # type: ignore[attr-defined]


@pytest.mark.parametrize("order", [(*KEYS, *TWINS), APART], ids=["twins together", "twins apart"])
def test_the_demos_reviewer_leaves_a_part_and_look_alikes_to_people_and_comes_once(
    database: Database,
    database_url: str,
    bucket: ScratchBucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    order: tuple[str, ...],
) -> None:
    monkeypatch.setattr("sniffer_local.review.hash_password", cheap_hash)  # the demo's four cost a second of CPU
    put(database, bucket, order)
    truth = {
        key: SampleTruth("other" if reason is None else "drugs", "face" if reason is None else "powder", key in TWINS)
        for key, reason in TRUTH.items()
    }
    told: list[str] = []
    with served(database_url) as page:
        passwords = prepare_site(tmp_path, 1).passwords
        there = ReviewSite(tmp_path, int(page.parts.settings.url.rpartition(":")[2]), passwords)
        make_accounts(there, database)
        reviewed = ReviewedBucket(bucket.name, truth, there)
        with pytest.raises(SettingsError, match="does not sign in ann: The name or the password is wrong"):
            ReviewBrowser(there.url).log_in("ann", "wrong")
        with pytest.raises(TransientError, match="with 401"):
            ReviewBrowser(there.url)._open("POST", "/logout", [("csrf", "")])
        assert not has_reviewed(database)
        hash_all(database, page)
        counts = review_a_part(database, reviewed, told.append)
        assert counts.decided == len(TRUTH) // 2
        rows = database.review_decisions.latest(100)
        assert {row.row.reviewer for row in rows} == {SIMULATED} and len(rows) == counts.decided
        assert not {row.key for row in rows} & set(TWINS)
        assert database.review_leases.held(SIMULATED) == []
        assert has_reviewed(database)
    assert database.review_queue.backlog(EVERYTHING) == len(TRUTH) - counts.decided
    assert f"has decided {counts.decided} images: {counts.said[ReviewDecision.DRUG]} drug" in told[-1]


def test_of_a_thousand_images_she_errs_about_as_often_as_is_said_and_alike_again() -> None:
    truth = {f"b/{number}": Reason.OTHER if number % 2 else None for number in range(1000)}
    errors = {
        name: [where for where in truth if SimulatedReviewer(name, truth, 5).says(where).is_wrong] for name in "ab"
    }
    assert all(30 <= len(found) <= 70 for found in errors.values())
    assert len(set(errors["a"]) & set(errors["b"])) < 10
    assert (
        errors["a"]
        == [where for where in reversed(truth) if SimulatedReviewer("a", truth, 5).says(where).is_wrong][::-1]
    )
