"""Images that were stored compressed: as `Content-Encoding: gzip` without the header, or as .gz."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from sniffer.core.errors import UnreadableImage

if TYPE_CHECKING:
    from zlib import _Decompress as Inflate

_GZIP = b"\x1f\x8b\x08"
_WITH_GZIP_HEADER = 16 + zlib.MAX_WBITS


def unwrapped(data: bytes, max_bytes: int) -> bytes:
    """What a gzip holds, one level deep and no more than `max_bytes`; anything else as it is.

    A gzip that is damaged or ends early gives what comes before that. Raises UnreadableImage over the limit.
    """
    if not data.startswith(_GZIP):
        return data
    inflate = zlib.decompressobj(_WITH_GZIP_HEADER)
    pieces = list[bytes]()
    left = max_bytes
    for start in range(0, len(data), _STEP):
        step, before = data[start : start + _STEP], inflate.copy()
        try:
            piece, is_damaged = inflate.decompress(step, left + 1), False
        except zlib.error:
            piece, is_damaged = _up_to_damage(before, step, left + 1), True
        left -= len(piece)
        pieces.append(piece)
        if left < 0:
            raise UnreadableImage("over_byte_limit", f"unpacked, more than the limit of {max_bytes:,} bytes")
        if inflate.eof or is_damaged:
            break  # zlib would keep what lies behind, and copy all of it with every piece
    return b"".join(pieces) or data


def _up_to_damage(inflate: Inflate, data: bytes, limit: int) -> bytes:
    """What comes before the damage in these bytes, or more than the limit. A wrong checksum comes behind all of it.

    zlib gives nothing of a piece in which it finds damage: so the pieces become smaller.
    """
    found = bytearray()
    for size in (4096, 64, 1):
        while data and len(found) < limit:
            before = inflate.copy()
            try:
                found += inflate.decompress(data[:size], limit - len(found))
            except zlib.error:
                inflate = before
                break
            data = data[size:]
    return bytes(found)


_STEP = 1 << 16
