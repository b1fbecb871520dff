"""The demo's bucket: sample images under dated prefixes, the same bytes each time, so that a scan knows them again."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from sniffer.core.files import write_text
from sniffer_local.s3_state import bucket_tags
from sniffer_local.samples import bucket_objects

COUNT = 330
SEED = 7
PREFIXES = ("uploads/2026-11-18/", "uploads/2026-11-19/", "uploads/2026-11-20/")
"""Fixed days, so that the keys stay the same tomorrow; `uploads/{{ ds }}/` backfills them one by one."""
RELEASE = 2
"""Raise it when the generator draws different images, so that a bucket with the old ones is filled again."""
DONE_TAG = {"Key": "sample-images", "Value": f"{COUNT} of seed {SEED} release {RELEASE}"}


@dataclass(frozen=True, slots=True)
class SampleTruth:
    """What an object was drawn to show: its class, None for no readable image, and its slice.

    `has_copies`: other objects have the same bytes.
    """

    label: str | None
    slice: str
    has_copies: bool


def fill(client: Any, bucket: str, truth: Path) -> dict[str, SampleTruth]:
    """Put the sample objects into the bucket, unless all are there; returns the truth by key. Idempotent.

    `truth` is the file in which it is kept, so that nothing is drawn again.
    """
    client.create_bucket(Bucket=bucket)
    is_full = DONE_TAG in bucket_tags(client, bucket)
    if is_full and truth.is_file():
        known = msgspec.json.decode(truth.read_bytes(), type=dict[str, dict[str, SampleTruth]])
        if DONE_TAG["Value"] in known:
            return known[DONE_TAG["Value"]]
    drawn: list[tuple[str, str | None, str, bytes]] = []
    for item in bucket_objects(SEED, COUNT, PREFIXES, processes=os.cpu_count() or 1):
        if not is_full:
            client.put_object(Bucket=bucket, Key=item.key, Body=item.data)
        drawn.append((item.key, item.label, item.kind, hashlib.sha256(item.data).digest()))
    counts = Counter(digest for *_, digest in drawn)
    found = {key: SampleTruth(label, kind, counts[digest] > 1) for key, label, kind, digest in drawn}
    write_text(truth, msgspec.json.encode({DONE_TAG["Value"]: found}).decode())
    # Last, so that a bucket with the tag is a complete one.
    client.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [DONE_TAG]})
    return found
