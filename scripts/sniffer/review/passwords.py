"""Passwords of the review page's local accounts, as argon2id keeps them (RFC 9106, its second recommendation)."""

from __future__ import annotations

import functools

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from sniffer.core.errors import SettingsError

SHORTEST_PASSWORD, LONGEST_PASSWORD = 12, 1024
_HASHER = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)


def hash_password(password: str) -> str:
    """Its hash, salted; SettingsError for a password that is too short or too long."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise SettingsError(
            f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD:,} characters; this one has {len(password):,}"
        )
    return _HASHER.hash(password)


def is_password(password: str, password_hash: str | None) -> bool:
    """Whether the hash is that password's. As slow without a hash, so that nobody learns which names there are."""
    if len(password) > LONGEST_PASSWORD:
        return False
    try:
        _HASHER.verify(password_hash or _nobodys(), password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


@functools.cache
def _nobodys() -> str:
    return _HASHER.hash("the password of nobody")
