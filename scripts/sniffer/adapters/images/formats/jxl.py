"""JPEG XL (ISO/IEC 18181): the size, and whether it is animated, out of the first bits."""

from __future__ import annotations

from sniffer.adapters.images.survey import Cost, Malformed, Survey

_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
# Measured: photographs take 17 to 30 ns, those of a phone's 48 megapixels, too (1.4 s). What was made lossless, or
# small at any price, takes up to 160: of those, the large ones meet the limit of the decoder's process.
_PIXEL_S = 45e-9
_PIXEL_BYTES = 16


class _Bits:
    """Bits of a codestream, the lowest of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._left = int.from_bytes(data[:64], "little")

    def take(self, count: int) -> int:
        value = self._left & ((1 << count) - 1)
        self._left >>= count
        return value

    def side(self, is_small: int) -> int:
        if is_small:
            return 8 * (self.take(5) + 1)
        return 1 + self.take((9, 13, 18, 30)[self.take(2)])

    def size(self) -> tuple[int, int]:
        """Width and height (SizeHeader)."""
        is_small = self.take(1)
        height = self.side(is_small)
        ratio = self.take(3)
        width = height * _RATIOS[ratio - 1][0] // _RATIOS[ratio - 1][1] if ratio else self.side(is_small)
        return width, height


def is_animated(data: bytes) -> bool:
    """Whether there may be more than one frame (ImageMetadata, have_animation)."""
    bits = _Bits(_codestream(data)[2:])
    bits.size()
    if bits.take(1) or not bits.take(1):  # all as by default; no field beside the usual ones
        return False
    bits.take(3)  # orientation
    if bits.take(1):
        bits.size()  # the size that it is meant to be shown in
    return bool(bits.take(1) or bits.take(1))  # behind a preview's header, it may be


def survey_jxl(data: bytes) -> Survey:
    """Raises Malformed."""
    stream = _codestream(data)
    if not stream.startswith(b"\xff\x0a") or len(stream) < 4:
        raise Malformed("it has no codestream")
    width, height = _Bits(stream[2:]).size()
    pixels = width * height
    return Survey("JPEG XL", data, (width, height), Cost(pixels, pixels * _PIXEL_S, pixels * _PIXEL_BYTES))


def _codestream(data: bytes) -> bytes:
    """Its first bytes: as they are, or in the first box that holds some (18181-2)."""
    at = 0
    while data.startswith(b"\xff\x0a") is False and at + 8 <= len(data):
        length, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        header = 16 if length == 1 else 8
        if name == b"jxlc":
            return data[at + header : at + header + 64]
        if name == b"jxlp":
            return data[at + header + 4 : at + header + 68]
        if length == 1:
            length = int.from_bytes(data[at + 8 : at + 16], "big")
        if length < header:
            break
        at += length
    return data[:64]
