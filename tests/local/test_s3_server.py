"""The local S3 of the demo: its objects survive the death of its process, with their times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from support.programs import eventually

from sniffer_local.processes import Child, free_port
from sniffer_local.s3 import kept_s3_service, s3_client


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Child]:
    service = kept_s3_service(free_port(), tmp_path / "kept", tmp_path / "s3.log")
    server = Child(replace(service, command=(*service.command, "--interval=0.1")))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def client(server: Child) -> Any:
    client = s3_client(int(server.service.address.rpartition(":")[2]))
    client.create_bucket(Bucket="photos")
    return client


def listing(client: Any) -> dict[str, tuple[str, datetime]]:
    contents = client.list_objects_v2(Bucket="photos")["Contents"]
    return {item["Key"]: (item["ETag"], item["LastModified"]) for item in contents}


def test_a_stopped_server_comes_back_whole_with_the_objects_times(server: Child, client: Any, tmp_path: Path) -> None:
    for number in range(30):
        client.put_object(Bucket="photos", Key=f"ä {number}.jpg", Body=b"one")
    before = listing(client)
    server.stop()
    index = tmp_path / "kept" / "index.json"
    index.write_text(index.read_text().replace(f"{before['ä 0.jpg'][1]:%Y-}", "2004-"))  # not the time of its return
    server.start()
    after = listing(client)  # the first answer on its port
    assert after == {key: (etag, modified.replace(year=2004)) for key, (etag, modified) in before.items()}


def test_a_killed_server_has_what_was_saved_meanwhile(server: Child, client: Any, tmp_path: Path) -> None:
    client.put_object(Bucket="photos", Key="a.jpg", Body=b"one")
    index = tmp_path / "kept" / "index.json"
    eventually(lambda: index.is_file() and "a.jpg" in index.read_text(), "it is saved")
    before = listing(client)
    server.kill()
    server.start()
    assert listing(client) == before
