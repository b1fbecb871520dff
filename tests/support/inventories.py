"""Reports of S3 Inventory as AWS writes them, put into a bucket."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import quote_plus

import pyarrow as pa
from pyarrow import parquet

from support.scratch_bucket import ScratchBucket

FOLDER = "reports/uploads/daily/2026-11-25T01-00Z/"


def csv_part(bucket: str, keys: Sequence[str], more: Sequence[str] = ()) -> bytes:
    """A gzipped CSV file: bucket, key as in a URL, and other columns, the same in each row."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(
        [bucket, quote_plus(key), *more] for key in keys
    )
    return gzip.compress(text.getvalue().encode())


def parquet_part(bucket: str, keys: Sequence[str], **more: Sequence[bool]) -> bytes:
    """A Parquet file: bucket, key, and other columns."""
    out = io.BytesIO()
    parquet.write_table(pa.table({"bucket": [bucket] * len(keys), "key": list(keys), **more}), out, row_group_size=64)
    return out.getvalue()


def put_inventory(
    bucket: ScratchBucket,
    parts: Sequence[bytes],
    *,
    source: str = "",
    file_format: str = "CSV",
    schema: str = "Bucket, Key",
    created: datetime | None = None,
    md5: str = "",
) -> str:
    """Put a report there; the address of its manifest.json. `source`: the bucket that it is of, unless that is it."""
    files = []
    for number, part in enumerate(parts):
        key = f"reports/uploads/daily/data/{number}.{'csv.gz' if file_format == 'CSV' else 'parquet'}"
        bucket.put(key, part)
        files.append({"key": key, "size": len(part), "MD5checksum": md5 or hashlib.md5(part).hexdigest()})
    manifest = json.dumps(
        {
            "sourceBucket": source or bucket.name,
            "destinationBucket": f"arn:aws:s3:::{bucket.name}",
            "version": "2016-11-30",
            "creationTimestamp": str(int((created or datetime.now(UTC)).timestamp() * 1000)),
            "fileFormat": file_format,
            "fileSchema": schema,
            "files": files,
        }
    ).encode()
    bucket.put(f"{FOLDER}manifest.json", manifest)
    bucket.put(f"{FOLDER}manifest.checksum", hashlib.md5(manifest).hexdigest().encode())
    return f"s3://{bucket.name}/{FOLDER}manifest.json"
