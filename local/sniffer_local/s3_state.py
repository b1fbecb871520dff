"""Keeps the local S3's objects in a folder, since moto holds them in memory: saved as they change, restored later.

In: buckets. Out: index.json (buckets, keys, ETags, times, tags) and one file for each content, named by its SHA-256.
Objects come back with the same ETag, but for those of multipart uploads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

SetModified = Callable[[str, str, datetime], None]
"""Bucket, key, time in UTC."""

MARKER_BUCKET = "sniffer-local-state"
"""Created when everything is back, so that a restore that was cut short is not taken, and saved, for the whole."""


def restore(client: Any, folder: Path, set_modified: SetModified = lambda *_: None) -> int:
    """Put back what was saved, unless this server has it already; returns the number of objects put. Idempotent.

    `set_modified` is told the time of modification that each had, to the second.
    """
    if _is_restored(client):
        return 0
    index, count = _read_index(folder), 0
    for bucket, entry in index.items():
        client.create_bucket(Bucket=bucket)
        for key, saved in entry["objects"].items():
            client.put_object(Bucket=bucket, Key=key, Body=(folder / saved["content"]).read_bytes())
            if "modified" in saved:  # which folders of earlier releases do not say
                set_modified(bucket, key, datetime.fromisoformat(saved["modified"]))
            count += 1
        if entry["tags"]:
            client.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": entry["tags"]})
    client.create_bucket(Bucket=MARKER_BUCKET)
    return count


def save(client: Any, folder: Path) -> int:
    """Bring the folder up to date with the server, fetching only what is new; returns the number of objects held.

    Changes nothing before the server has been restored, so that a half-filled one never replaces what was saved.
    """
    if not _is_restored(client):
        return 0
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    saved = _read_index(folder)
    index = {
        bucket: {
            "tags": bucket_tags(client, bucket),
            "objects": _save_objects(client, bucket, folder, saved.get(bucket, {"objects": {}})["objects"]),
        }
        for bucket in _buckets(client)
    }
    draft = folder / "index.tmp"
    draft.write_text(json.dumps(index))
    draft.replace(folder / "index.json")
    _drop_unused(folder, index)
    return sum(len(entry["objects"]) for entry in index.values())


def bucket_tags(client: Any, bucket: str) -> list[dict[str, str]]:
    """The tags of a bucket; none when it has none."""
    try:
        tags: list[dict[str, str]] = client.get_bucket_tagging(Bucket=bucket)["TagSet"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchTagSet":
            return []
        raise
    return tags


def _save_objects(client: Any, bucket: str, folder: Path, before: dict[str, Any]) -> dict[str, Any]:
    saved = {}
    for key, etag, modified in _listing(client, bucket):
        known = before.get(key)
        entry = known if known and known["etag"] == etag else _save_object(client, bucket, key, etag, folder)
        saved[key] = {**entry, "modified": modified.isoformat()}
    return saved


def _save_object(client: Any, bucket: str, key: str, etag: str, folder: Path) -> dict[str, str]:
    data: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    content = hashlib.sha256(data).hexdigest()
    if not (folder / content).is_file():
        draft = folder / f"{content}.tmp"
        draft.write_bytes(data)
        draft.replace(folder / content)
    return {"etag": etag, "content": content}


def _listing(client: Any, bucket: str) -> Iterator[tuple[str, str, datetime]]:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for item in page.get("Contents", ()):
            yield item["Key"], item["ETag"], item["LastModified"]


def _buckets(client: Any) -> list[str]:
    return [bucket["Name"] for bucket in client.list_buckets()["Buckets"] if bucket["Name"] != MARKER_BUCKET]


def _is_restored(client: Any) -> bool:
    return any(bucket["Name"] == MARKER_BUCKET for bucket in client.list_buckets()["Buckets"])


def _read_index(folder: Path) -> dict[str, Any]:
    file = folder / "index.json"
    index: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    return index


def _drop_unused(folder: Path, index: dict[str, Any]) -> None:
    used = {saved["content"] for entry in index.values() for saved in entry["objects"].values()} | {"index.json"}
    for file in folder.iterdir():
        if file.name not in used:
            file.unlink()
