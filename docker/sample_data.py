"""One-shot of docker-compose.yaml: sample images to scan in a bucket, and labelled ones to train on, as in `make demo`.

In: the AWS_* variables. Out: the bucket's objects and DIR/labels/<class>/. Idempotent: what is there stays as it is.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from sniffer_local.samples import bucket_objects
from sniffer_local.samples.__main__ import write_labelled

BUCKET_IMAGES, BUCKET_SEED = 330, 7
PREFIXES = ("uploads/2026-11-18/", "uploads/2026-11-19/", "uploads/2026-11-20/")
LABELLED_IMAGES, LABELLED_SEED = 720, 0
"""As local/sniffer_local has them, so that both ways show the same."""


def fill_bucket(client: Any, bucket: str) -> int:
    """Put every sample object that is missing; returns how many that were."""
    if bucket not in {each["Name"] for each in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=bucket)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    there = {item["Key"] for page in pages for item in page.get("Contents", ())}
    if len(there) >= BUCKET_IMAGES:
        return 0  # drawing them takes half a minute
    put = 0
    for item in bucket_objects(BUCKET_SEED, BUCKET_IMAGES, PREFIXES, processes=os.cpu_count() or 1):
        if item.key not in there:
            client.put_object(Bucket=bucket, Key=item.key, Body=item.data)
            put += 1
    return put


def write_images(folder: Path) -> bool:
    """Draw the labelled images unless the folder is there, whole; returns whether they were drawn."""
    if folder.is_dir():
        return False
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    write_labelled(part, LABELLED_SEED, LABELLED_IMAGES, os.cpu_count() or 1)
    part.rename(folder)
    return True


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program: 0 when all is there, 1 when S3 or the disk refuses, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="sample_data.py", description=__doc__)
    parser.add_argument("--bucket", required=True, help="created unless it is there")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="where the labelled images go")
    flags = parser.parse_args(argv)
    try:
        put = fill_bucket(boto3.client("s3"), flags.bucket)
        drawn = write_images(flags.images)
    except (BotoCoreError, ClientError) as error:
        print(f"sample_data: S3 at {os.environ.get('AWS_ENDPOINT_URL', 'AWS')}: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"sample_data: cannot write {flags.images}: {error}", file=sys.stderr)
        return 1
    print(f"{put} objects put into {flags.bucket}; labelled images {'drawn' if drawn else 'there already'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
