"""What a key can be: S3 allows 1,024 bytes of UTF-8. Other stores may list what cannot be asked for, or kept."""

from __future__ import annotations

import re

from sniffer.core.records import Outcome, Unscored

LONGEST_KEY_BYTES = 1024
_REWRITTEN = re.compile(r"(^|/)\.{0,2}(/|$)|[^A-Za-z0-9._/-]")


def is_usable(key: str) -> bool:
    """Whether it is text of a length that S3 allows. Bytes that are no UTF-8 are lone surrogates in it."""
    try:
        return len(key.encode()) <= LONGEST_KEY_BYTES
    except UnicodeEncodeError:
        return False


def unusable(key: str) -> Unscored:
    """What becomes of an object with such a key."""
    size_bytes = len(key.encode(errors="surrogateescape"))
    why = f"is over {LONGEST_KEY_BYTES} bytes" if size_bytes > LONGEST_KEY_BYTES else "is no UTF-8"
    return Unscored(Outcome.FAILED, "unusable_key", f"the key, of {size_bytes} bytes, {why}: rename the object")


def may_be_rewritten(key: str) -> bool:
    """Whether something between us and S3 might write the key's URL in another way, so that its signature is wrong."""
    return _REWRITTEN.search(key) is not None
