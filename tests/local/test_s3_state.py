from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sniffer_local.s3 import S3
from sniffer_local.s3_state import bucket_tags, restore, save

OBJECTS = {"a/b.jpg": b"one", "a/B.jpg": b"two", "copy \U0001f600 +%.jpg": b"one", "x" * 1024: b"", "dir/": b"three"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[S3]:
    """A server of this test's own: it is emptied by restarts."""
    server = S3(tmp_path / "server")
    server.start()
    yield server
    server.stop()


def put(client: Any, objects: dict[str, bytes], bucket: str = "photos") -> None:
    client.create_bucket(Bucket=bucket)
    for key, data in objects.items():
        client.put_object(Bucket=bucket, Key=key, Body=data)


def listing(client: Any, bucket: str = "photos") -> dict[str, str]:
    return {item["Key"]: item["ETag"] for item in client.list_objects_v2(Bucket=bucket).get("Contents", ())}


def test_objects_survive_a_restart_with_their_etags(server: S3, tmp_path: Path) -> None:
    client = server.client()
    restore(client, tmp_path / "kept")
    put(client, OBJECTS)
    tags = [{"Key": "done", "Value": "yes"}]
    client.put_bucket_tagging(Bucket="photos", Tagging={"TagSet": tags})
    before = listing(client)
    assert save(client, tmp_path / "kept") == len(OBJECTS)
    server.restart()
    client = server.client()
    assert restore(client, tmp_path / "kept") == len(OBJECTS)
    assert listing(client) == before
    assert bucket_tags(client, "photos") == tags
    assert restore(client, tmp_path / "kept") == 0


def test_saving_again_follows_changes_and_deletions(server: S3, tmp_path: Path) -> None:
    client, kept = server.client(), tmp_path / "kept"
    restore(client, kept)
    put(client, {"stays": b"1", "changes": b"2", "goes": b"3"})
    save(client, kept)
    put(client, {"changes": b"4"})
    client.delete_object(Bucket="photos", Key="goes")
    assert save(client, kept) == 2
    assert sorted(file.read_bytes() for file in kept.iterdir() if file.name != "index.json") == [b"1", b"4"]


def test_saving_again_fetches_only_what_is_new(server: S3, tmp_path: Path) -> None:
    client, kept = server.client(), tmp_path / "kept"
    restore(client, kept)
    put(client, {"stays": b"1", "changes": b"2"})
    save(client, kept)
    put(client, {"changes": b"3", "new": b"4"})
    fetched: list[str] = []
    client.meta.events.register(
        "before-parameter-build.s3.GetObject", lambda params, **_: fetched.append(params["Key"])
    )
    assert save(client, kept) == 3
    assert sorted(fetched) == ["changes", "new"]


def test_a_restore_that_was_cut_short_never_replaces_what_was_saved(server: S3, tmp_path: Path) -> None:
    client, kept = server.client(), tmp_path / "kept"
    restore(client, kept)
    put(client, OBJECTS)
    save(client, kept)
    server.restart()
    client = server.client()
    put(client, {"a/b.jpg": b"one"})
    assert save(client, kept) == 0
    assert restore(client, kept) == len(OBJECTS)
