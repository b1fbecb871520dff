"""A table of labels is made of millions of decisions in the memory that a few need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

DECISIONS = 300_000
MOST_BYTES = 24 << 20
"""Above what a thousand decisions take: pages of SQLite, and buffers. As objects they take 300 MB."""

PUBLISH = """
import hashlib, resource, sys
from datetime import UTC, datetime
from sniffer.core.kept_images import KeptImage
from sniffer.core.review_records import DecidedImage, DecisionRow, EnteredBy, Reason, ReviewDecision
from sniffer.core.settings import FetchSettings
from sniffer.review.publish_labels import publish

WHEN = datetime(2026, 11, 27, tzinfo=UTC)

def decided(count):
    for number in range(1, count + 1):
        # A tenth is one campaign's, the same bytes; of every hundredth two reviewers disagree; some are both ways.
        image = number // 2 if number % 100 == 1 else number
        content = hashlib.sha256(b"campaign" if number % 10 == 0 else str(image // 3).encode()).digest()
        is_drug = number % 7 == 0 and number % 10 != 0
        row = DecisionRow(
            number, image, content, ReviewDecision.DRUG if is_drug else ReviewDecision.NOT_DRUG,
            Reason.OTHER if is_drug else None, "", f"r{number % 2}", WHEN, 1, 0.9, 0.5, EnteredBy.FLAGGED, 1.0,
            "", None,
            was_replaced=False, was_unblurred=False, is_live=True,
        )
        yield DecidedImage(row, "bucket", f"users/{image:012}/picture.jpg", "e", is_replaced=False)

def kept(count):
    return (KeptImage(hashlib.sha256(str(n).encode()).digest(), "kept", f"k/{n}") for n in range(0, count // 3, 5))

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

to, count = sys.argv[1], int(sys.argv[2])
publish(decided(1000), kept(1000), to, FetchSettings())
before = peak()
found = publish(decided(count), kept(count), to, FetchSettings())
print(peak() - before, sum(found.labels.values()), found.left_out["conflict"])
"""


@pytest.mark.timeout(600)
def test_many_decisions_take_the_memory_of_a_thousand(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    command = [sys.executable, "-c", PUBLISH, str(table), str(DECISIONS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    grown, labels, conflicts = map(int, done.stdout.split())
    with table.open() as file:
        assert sum(1 for _ in file) == labels + 1
    assert labels > DECISIONS // 3 and conflicts > DECISIONS // 100
    assert grown < MOST_BYTES, f"{grown:,} bytes more"
