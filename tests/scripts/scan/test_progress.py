"""What a running scan says of itself: in words, and stalled only when it is."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from sniffer.scan.listing import ListingTally
from sniffer.scan.progress import STALLED_S, ScanProgress


class Scan:
    """A scan whose clock, listing and confirmed rows the test moves."""

    def __init__(self, path: Path) -> None:
        self.now = 100.0
        self.done = 0
        self.consumers = 2
        self.tally = ListingTally()
        self._path = path
        self._progress = ScanProgress(self.tally, path, lambda: self.now)

    def after(self, seconds: float, done: int = 0, listed: int = 0, *, finished: bool | None = None) -> dict[str, Any]:
        """What it says that many seconds later, when so many more images were confirmed and listed at their end."""
        for second in range(int(seconds)):
            self.now += 1
            if second == int(seconds) - 1:
                self.done += done
                self.tally.listed += listed
                self.tally.finished = self.tally.finished if finished is None else finished
            self._progress.report(self.done, self.tally.listed - self.tally.unchanged - self.done, self.consumers)
        found: dict[str, Any] = json.loads(self._path.read_text())
        return found


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    return Scan(tmp_path / "progress.json")


def test_a_start_is_no_stall(scan: Scan) -> None:
    assert scan.after(1)["state"] == "still listing"
    assert scan.after(30, listed=300, finished=True)["state"] == "starting: no image is confirmed yet"
    assert scan.after(STALLED_S - 1)["state"] == "starting: no image is confirmed yet"


def test_a_scan_without_consumers_says_what_it_waits_for(scan: Scan) -> None:
    scan.consumers = 0
    assert scan.after(5, listed=100)["state"] == "waiting for a consumer"
    assert scan.after(5, finished=True)["state"] == "waiting for a consumer"


def test_a_listing_that_moves_is_no_stall(scan: Scan) -> None:
    scan.tally.unchanged = 10_000
    for _ in range(10):
        assert scan.after(59, listed=1000)["state"] == "still listing"


def test_a_listing_that_does_not_move_is_a_stall(scan: Scan) -> None:
    scan.after(5, listed=1000)
    scan.after(10, done=1000)
    state = scan.after(130)["state"]
    assert state == "stalled: nothing listed or confirmed for 2 min, see the warnings of this log"


def test_the_end_is_no_stall(scan: Scan) -> None:
    scan.after(5, listed=100, finished=True)
    assert scan.after(10, done=50)["state"] == "15 s left"
    assert scan.after(1, done=50)["state"] == "nothing left to do"
    assert scan.after(300)["state"] == "nothing left to do"


def test_a_scan_of_nothing_says_so(scan: Scan) -> None:
    assert scan.after(300, finished=True)["state"] == "nothing listed"


def test_a_scan_of_nothing_new_says_so(scan: Scan) -> None:
    scan.tally.unchanged = 100
    assert scan.after(1, listed=100, finished=True)["state"] == "nothing left to do"


def test_nothing_confirmed_for_long_is_a_stall_and_ends_with_the_next_image(scan: Scan) -> None:
    scan.after(5, listed=100, finished=True)
    scan.after(10, done=50)
    assert scan.after(40)["state"].endswith(" s left")
    assert scan.after(35)["state"] == "stalled: nothing confirmed for 75 s, see the warnings of this log"
    assert scan.after(1, done=1)["state"].endswith(" s left")


def test_the_log_line_has_the_same_words(scan: Scan, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "sniffer.scan.progress"):
        scan.after(10, listed=300, finished=True)
    assert caplog.messages == ["listed 300 (0 unchanged), done 0, 0.0 images/s, starting: no image is confirmed yet"]
