"""A bucket that one test has for itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ScratchBucket:
    """A fresh bucket of one test: its name, the boto3 client to fill it with, and where it is served."""

    name: str
    client: Any
    endpoint_url: str

    def put(self, key: str, body: bytes) -> str:
        """Store an object and return its bare ETag."""
        etag: str = self.client.put_object(Bucket=self.name, Key=key, Body=body)["ETag"].strip('"')
        return etag

    def delete(self, key: str) -> None:
        """Delete one object."""
        self.client.delete_object(Bucket=self.name, Key=key)
