"""JPEG XL as Pillow shows other formats: its frames, one after the other, upright and in 8 bits.

How many there are is in no header. For each one the decoder skips what lies before, which costs little.
"""

from __future__ import annotations

import time
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

_CPU_S = 1.2
"""For all frames but the first: where each one is drawn onto those before it, they cost the square of their number."""
_FRAME_PIXELS = 24_000_000
"""Of all frames: they are kept in memory, with four bytes each."""


class JxlImage(Image.Image):
    """An image with its frames. `is_cut`: those behind the last one took too much, or cannot be read."""

    def __init__(self, data: bytes, *, is_animated: bool) -> None:
        super().__init__()
        self._first: NDArray[Any] = imagecodecs.jpegxl_decode(data, index=0, numthreads=1)
        self._frames = [_in_8_bits(self._first)]
        self.is_cut = False
        self.seek(0)
        if is_animated:
            self._read_on(data)

    @property
    def n_frames(self) -> int:
        """How many there are."""
        return len(self._frames)

    def seek(self, frame: int) -> None:
        """Show that one, from 0."""
        chosen = self._frames[frame]
        self.im, self._mode, self._size = chosen.im, chosen.mode, chosen.size

    def _read_on(self, data: bytes) -> None:
        until, most = time.thread_time() + _CPU_S, _FRAME_PIXELS // (self.width * self.height)
        while len(self._frames) < most and time.thread_time() < until:
            try:
                frame = _later_frame(data, len(self._frames), self._first)
            except IndexError:
                return
            except (imagecodecs.JpegxlError, ValueError, RuntimeError):
                break
            if frame is None:
                return
            self._frames.append(frame)
        self.is_cut = True


def _later_frame(data: bytes, number: int, first: NDArray[Any]) -> Image.Image | None:
    """That frame, or None when there are not so many.

    Behind the last one the decoder leaves the array as it was, and says nothing: so it gets one that no frame is like.
    """
    noise = np.random.default_rng(number).bytes(first.nbytes)
    before = np.frombuffer(noise, first.dtype).reshape(first.shape)
    pixels = before.copy()
    imagecodecs.jpegxl_decode(data, index=number, numthreads=1, out=pixels)
    return None if pixels.tobytes() == noise else _in_8_bits(pixels)


def _in_8_bits(pixels: NDArray[Any]) -> Image.Image:
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    elif pixels.dtype != np.uint8:
        pixels = np.rint(np.nan_to_num(pixels.astype(np.float32)).clip(0, 1) * 255).astype(np.uint8)
    return Image.fromarray(pixels)
