"""Copies of decided images in a bucket of one's own: where they lie."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class NoCopy(StrEnum):
    """Why there is no copy of bytes that were decided: the object is deleted, has other bytes, or is too large; or it
    may not be read as things are, which somebody can change, so that it is tried again.
    """

    GONE = "gone"
    REPLACED = "replaced"
    UNREADABLE = "unreadable"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class KeptImage:
    """A whole copy of the bytes with that SHA-256. `version_id` is empty where the bucket keeps no versions."""

    content_hash: bytes
    bucket: str
    key: str
    version_id: str = ""
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class DecidedBytesAt:
    """Bytes that were decided, and an object that should hold them. `number`: of the decision; 0: not stored yet."""

    content_hash: bytes
    bucket: str
    key: str
    number: int = 0


@dataclass(frozen=True, slots=True)
class BegunCopy:
    """A copy that is to be made; whoever has begun it last, by `begun_at`, says that it is whole."""

    content_hash: bytes
    begun_at: datetime


@dataclass(frozen=True, slots=True)
class CopyToRemove:
    """A copy, whole or begun, that nobody needs any more."""

    content_hash: bytes
    bucket: str
    key: str
    begun_at: datetime
