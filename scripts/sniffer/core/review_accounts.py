"""Who may use the review page: accounts, their roles and sessions, and the log of what was done."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sniffer.core.errors import SettingsError

MOST_NAME_CHARS = 200
_NAME = re.compile(r"[\w.@+-]{1,200}")
NO_HASH = bytes(32)
"""What the first entry of the log has for the hash of the one before it."""


class ReviewRole(StrEnum):
    """What an account may do: decide; also settle and release; or only read."""

    REVIEWER = "reviewer"
    LEAD = "lead"
    AUDITOR = "auditor"

    @property
    def decides(self) -> bool:
        """Whether it may decide about images."""
        return self is not ReviewRole.AUDITOR

    @property
    def leads(self) -> bool:
        """Whether it settles disagreements, and releases or discards held scans."""
        return self is ReviewRole.LEAD

    @property
    def audits(self) -> bool:
        """Whether it sees the log, and everybody's figures."""
        return self is not ReviewRole.REVIEWER


class LookKind(StrEnum):
    """How much of an image a person has asked for: the small picture as it is, or the object's own bytes."""

    UNBLURRED = "unblurred"
    ORIGINAL = "original"


@dataclass(frozen=True, slots=True)
class ReviewAccount:
    """An account. `password_hash` is argon2id's, None for whoever signs in elsewhere; `oidc_subject` then says who."""

    name: str
    role: ReviewRole
    is_disabled: bool
    password_hash: str | None
    oidc_subject: str | None


@dataclass(frozen=True, slots=True)
class ReviewSession:
    """Who is signed in, as what, and the token that this person's forms carry."""

    name: str
    role: ReviewRole
    csrf: str


@dataclass(frozen=True, slots=True)
class OidcLogin:
    """What was sent along to the provider, and must come back."""

    nonce: str
    verifier: str


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry of the log: `details` is JSON as text, `hash` is of everything else and of the entry before it."""

    number: int
    at: datetime
    who: str
    action: str
    subject: str
    details: str
    previous_hash: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class LogHead:
    """The newest entry's number and hash; 0 and NO_HASH when there is none."""

    number: int = 0
    hash: bytes = NO_HASH

    def __str__(self) -> str:
        return f"{self.number}:{self.hash.hex()}"

    @classmethod
    def parse(cls, text: str) -> LogHead:
        """The inverse of str(); ValueError for anything else."""
        number, _, digest = text.partition(":")
        if not (number.isascii() and number.isdigit() and len(bytes.fromhex(digest)) == len(NO_HASH)):
            raise ValueError(text)
        return cls(int(number), bytes.fromhex(digest))


def entry_hash(
    number: int, at: datetime, who: str, action: str, subject: str, details: str, previous_hash: bytes
) -> bytes:
    """SHA-256 of an entry and of the one before it. `at` is UTC; each text goes in with its length, so that none can

    be taken for a part of the next.
    """
    found = hashlib.sha256(previous_hash)
    for text in (
        str(number),
        at.replace(tzinfo=None).isoformat(timespec="microseconds"),
        who,
        action,
        subject,
        details,
    ):
        encoded = text.encode()
        found.update(len(encoded).to_bytes(8))
        found.update(encoded)
    return found.digest()


def account_name(text: str) -> str:
    """A name that an account may have; SettingsError otherwise."""
    if not _NAME.fullmatch(text):
        raise SettingsError(
            f"{text!r} cannot be an account's name: 1 to {MOST_NAME_CHARS} letters, digits and any of . @ + - _"
        )
    return text
