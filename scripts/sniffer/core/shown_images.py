"""An image as the review page fetches it: the object that was scored, and which picture of it has the score."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ShownImage:
    """`etag` is bare; `content_hash` is SHA-256 of what was scored; `is_replaced`: there is a newer object."""

    image_id: int
    bucket: str
    key: str
    etag: str
    size_bytes: int
    last_modified: datetime
    content_hash: bytes | None
    rendering: str | None
    is_replaced: bool
