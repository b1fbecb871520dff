"""The demo's bucket: sample images under dated prefixes, the same bytes each time, so that a scan knows them again."""

from __future__ import annotations

import os
from typing import Any

from sniffer_local.s3_state import bucket_tags
from sniffer_local.samples import bucket_objects

COUNT = 330
SEED = 7
PREFIXES = ("uploads/2026-11-18/", "uploads/2026-11-19/", "uploads/2026-11-20/")
"""Fixed days, so that the keys stay the same tomorrow; `uploads/{{ ds }}/` backfills them one by one."""
RELEASE = 2
"""Raise it when the generator draws different images, so that a bucket with the old ones is filled again."""
DONE_TAG = {"Key": "sample-images", "Value": f"{COUNT} of seed {SEED} release {RELEASE}"}


def fill(client: Any, bucket: str) -> int:
    """Put the sample objects into the bucket, unless all are there; returns how many there are. Idempotent."""
    client.create_bucket(Bucket=bucket)
    if DONE_TAG not in bucket_tags(client, bucket):
        for item in bucket_objects(SEED, COUNT, PREFIXES, processes=os.cpu_count() or 1):
            client.put_object(Bucket=bucket, Key=item.key, Body=item.data)
        # Last, so that a bucket with the tag is a complete one.
        client.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [DONE_TAG]})
    return COUNT
