"""The progress line: at intervals and at the end, with rate and time left."""

from __future__ import annotations

import logging

import pytest

from sniffer.core.count_progress import PROGRESS_S, StageProgress


def test_a_line_at_each_interval_and_one_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    progress = StageProgress("reading", 100, clock=lambda: now)
    with caplog.at_level(logging.INFO):
        for _ in range(100):
            now += PROGRESS_S / 40
            progress.advance()
    assert caplog.messages == [
        "reading: 40 of 100 images, 4.0 images/s, 15 s left",
        "reading: 80 of 100 images, 4.0 images/s, 5 s left",
        "reading: 100 of 100 images, 4.0 images/s, 0 s left",
    ]
