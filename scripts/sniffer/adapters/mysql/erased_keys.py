"""MySQL: which images an erasure is about."""

from __future__ import annotations

import re

from sqlalchemy import ColumnElement

from sniffer.adapters.mysql.schema import images


def is_erased(key: str | None, prefix: str) -> tuple[ColumnElement[bool], ...]:
    """Of an image: by the text, which has an index, and by the bytes, which are exact."""
    if key is not None:
        return images.c.key_text == key, images.c.object_key == key.encode()
    if not prefix:
        return ()
    pattern = re.sub(r"([\\%_])", r"\\\1", prefix)
    return (images.c.key_text.like(pattern + "%"),)
