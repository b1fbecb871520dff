"""The second, tolerant attempt: what viewers show of a damaged file. The rest is white, as a page would be."""

from __future__ import annotations

from contextlib import closing

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sniffer.adapters.images.formats.jpeg import up_to_last_segment
from sniffer.adapters.images.frames import shown
from sniffer.adapters.images.opening import opened
from sniffer.adapters.images.refusals import DECODE_ERRORS
from sniffer.adapters.images.survey import Survey

TOLERANT = ("JPEG", "PNG", "GIF", "BMP", "icon", "TIFF")
_WHITE, _BLACK = 255, 0
_MAX_FILLED_PIXELS = 16_000_000
_END_OF_JPEG = b"\xff\xd9"


def salvaged(survey: Survey) -> Image.Image | None:
    """The first frame as far as it can be read, on the square; None if nothing of it can. Raises as decoders do."""
    if survey.kind == "JPEG":
        return _salvaged_jpeg(survey)
    if survey.twin is not None:
        return _salvaged_webp(survey, survey.twin)
    return _salvaged(survey)


def _salvaged_jpeg(survey: Survey) -> Image.Image | None:
    """libjpeg decodes what there is, once an end comes behind it, and makes middle grey of missing blocks."""
    with closing(opened(survey, up_to_last_segment(survey.data) + _END_OF_JPEG)) as image:
        image.load()
        known = image.height
        while known and _is_grey(_row(image, known - 1)):
            known -= 1
        if not known:
            return None
        _whiten(image, known)
        return shown(image, survey)


def _is_grey(values: NDArray[np.uint8]) -> bool:
    return bool(((values == 127) | (values == 128)).all())


def _salvaged_webp(survey: Survey, twin_data: bytes) -> Image.Image | None:
    """Filled up in two ways, the two pictures agree as far as the data went."""
    with closing(opened(survey, survey.data)) as image, closing(opened(survey, twin_data)) as twin:
        image.load()
        twin.load()
        rows = range(image.height)
        known = next((row for row in rows if (_row(image, row) != _row(twin, row)).any()), image.height)
        if not known:
            return None
        _whiten(image, known)
        return shown(image, survey)


def _row(image: Image.Image, row: int) -> NDArray[np.uint8]:
    return np.asarray(image.crop((0, row, image.width, row + 1)))


def _whiten(image: Image.Image, top: int) -> None:
    white: str | tuple[int, ...] = {"CMYK": (0, 0, 0, 0), "RGBA": (0, 0, 0, 0)}.get(image.mode, "white")
    image.paste(white, (0, top, image.width, image.height))


def _salvaged(survey: Survey) -> Image.Image | None:
    """Pillow writes into an image that is there already, and leaves what it has no data for."""
    if survey.is_interlaced and survey.cost.pixels <= _MAX_FILLED_PIXELS:
        return _salvaged_interlaced(survey)
    with _read_onto(survey, _WHITE) as image:
        picture, colour = shown(image, survey), _colour_of_all(image)
    if colour is None:
        return picture
    # A picture of one colour, or nothing.
    with _read_onto(survey, _BLACK) as image:
        return picture if _colour_of_all(image) in (None, colour) else None


def _salvaged_interlaced(survey: Survey) -> Image.Image | None:
    """Pixels that later passes would bring look like their neighbours, as they do in a viewer.

    Read onto two grounds, what is known is the same on both.
    """
    on_white, on_black = (
        np.array(image.convert("RGBA")) for image in (_read_onto(survey, _WHITE), _read_onto(survey, _BLACK))
    )
    known = (on_white == on_black).all(axis=2)
    if not known.any():
        return None
    rows, columns = np.arange(known.shape[0]), np.arange(known.shape[1])
    for step in (2, 4, 8):
        for high, wide in ((step, 1), (1, step), (step, step)):
            neighbours = np.ix_(rows - rows % high, columns - columns % wide)
            fill = known[neighbours] & ~known
            on_white[fill] = on_white[neighbours][fill]
            known |= fill
    on_white[~known] = _WHITE
    return shown(Image.fromarray(on_white), survey)


def _read_onto(survey: Survey, level: int) -> Image.Image:
    """The first frame, read onto an even ground."""
    with closing(opened(survey, survey.data)) as image:
        if survey.first:
            image.seek(survey.first)
        image.im = Image.new(image.mode, image.size, _ground(image, level)).im
        try:
            image.load()
        except DECODE_ERRORS:
            image.tile = []  # type: ignore[attr-defined]
            image.load()
        return image.copy()


def _colour_of_all(image: Image.Image) -> object:
    """The colour of an image that is all of one colour; else None."""
    corner = image.crop((0, 0, 1, 1)).getextrema()
    return corner if image.getextrema() == corner else None


def _ground(image: Image.Image, level: int) -> int | tuple[int, ...]:
    """A colour of the image's mode: clear where it can be, else of this level; of a palette, the one nearest to it."""
    if image.mode == "P":
        clear = image.info.get("transparency")
        if isinstance(clear, int):
            return clear
        palette = np.frombuffer(bytes(image.palette.palette) if image.palette else b"", np.uint8)
        entries = palette[: len(palette) // 3 * 3].reshape(-1, 3).sum(axis=1).astype(int)
        return int(np.abs(entries - 3 * level).argmin()) if entries.size else 0
    if image.mode in ("RGBA", "LA"):
        return (level,) * (len(image.getbands()) - 1) + (0,)
    if image.mode.startswith("I"):
        return level * 257
    return (level,) * len(image.getbands()) if len(image.getbands()) > 1 else level
