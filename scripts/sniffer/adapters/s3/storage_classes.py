"""Which objects lie in an archive, by the storage class that the listing shows."""

from __future__ import annotations

RESTORED = " (restored)"
"""Follows the storage class of an archived object of which there is a copy to read for a while."""
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})


def is_archived(storage_class: str) -> bool:
    """Whether a GET would be refused until somebody restores the object."""
    return storage_class in _ARCHIVES


def hides_archive(storage_class: str) -> bool:
    """Whether the listing does not show if such an object lies in an archive."""
    return storage_class == "INTELLIGENT_TIERING"
