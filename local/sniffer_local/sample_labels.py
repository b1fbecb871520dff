"""The demo's labelled images, in a bucket of their own with their table; reviewers' decisions become one beside it."""

from __future__ import annotations

import csv
import io
import os
from typing import Any

from sniffer_local.s3_state import bucket_tags
from sniffer_local.samples import labelled_images

LABELS_BUCKET = "sniffer-labels"
COUNT = 720
SEED = 0
OWN_TABLE, REVIEW_TABLE = "tables/part-own.csv", "tables/part-review.csv"
SOURCE = f"s3://{LABELS_BUCKET}/tables/part-*"
"""Both tables, as a snapshot reads them."""
REVIEW_LABELS = f"s3://{LABELS_BUCKET}/{REVIEW_TABLE}"
DONE_TAG = {"Key": "sample-labels", "Value": f"{COUNT} of seed {SEED} release 1"}


def fill(client: Any) -> int:
    """Put the labelled images and their table into the bucket, unless they are there; returns how many. Idempotent."""
    client.create_bucket(Bucket=LABELS_BUCKET)
    if DONE_TAG not in bucket_tags(client, LABELS_BUCKET):
        table = io.StringIO()
        rows = csv.writer(table)
        rows.writerow(("bucket", "key", "label", "slice", "source"))
        for number, image in enumerate(labelled_images(SEED, COUNT, processes=os.cpu_count() or 1)):
            key = f"images/{image.label}/{image.slice}-{number:06d}{image.suffix}"
            client.put_object(Bucket=LABELS_BUCKET, Key=key, Body=image.data)
            rows.writerow((LABELS_BUCKET, key, image.label, image.slice, "drawn"))
        client.put_object(Bucket=LABELS_BUCKET, Key=OWN_TABLE, Body=table.getvalue().encode())
        # Last, so that a bucket with the tag is a complete one.
        client.put_bucket_tagging(Bucket=LABELS_BUCKET, Tagging={"TagSet": [DONE_TAG]})
    return COUNT
