"""Images that were stored compressed: as `Content-Encoding: gzip` without the header, or as .gz."""

from __future__ import annotations

import zlib

from sniffer.core.errors import UnreadableImage

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
    try:
        for start in range(0, len(data), _STEP):
            piece = inflate.decompress(data[start : start + _STEP], left + 1)
            left -= len(piece)
            pieces.append(piece)
            if left < 0:
                raise UnreadableImage("over_byte_limit", f"unpacked, more than the limit of {max_bytes:,} bytes")
            if inflate.eof:
                break  # zlib would keep what lies behind, and copy all of it with every piece
    except zlib.error:
        pass
    return b"".join(pieces) or data


_STEP = 1 << 16
