"""A locked-up decoder process gives the very pixels and verdicts that decoding in this process gives."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import pillow_heif
import pytest
from PIL import Image
from support.fleet import jpeg

from sniffer.adapters.images.render import decode
from sniffer.core.errors import UnreadableImage
from sniffer.core.settings import ImageSettings
from sniffer.decoding.caged import CagedDecoder
from sniffer.decoding.process import PROGRAM, open_decoder

UNPRIVILEGED = (sys.executable, str(Path(__file__).parents[2] / "support" / "unprivileged_decoder.py"))


@pytest.fixture(scope="module")
def caged() -> Iterator[CagedDecoder]:
    """A decoder without the rights of root, as in a pod. Only root can become somebody else."""
    with open_decoder(ImageSettings(), UNPRIVILEGED if os.getuid() == 0 else PROGRAM) as decoder:
        yield decoder


def encoded(kind: str, mode: str = "RGB", side: int = 96) -> bytes:
    picture = Image.open(io.BytesIO(jpeg(7, side))).convert(mode)
    if kind == "JXL":
        return bytes(imagecodecs.jpegxl_encode(np.asarray(picture)))
    file = io.BytesIO()
    if kind == "HEIC":
        pillow_heif.from_pillow(picture).save(file)
    else:
        picture.save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "ICO", "JPEG2000", "HEIC", "JXL"]
)
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK", "RGBA", "1", "I;16", "LAB"])
def test_a_caged_decoder_gives_what_decoding_here_gives(kind: str, mode: str, caged: CagedDecoder) -> None:
    try:
        body = encoded(kind, mode)
    except (OSError, ValueError, KeyError):
        pytest.skip(f"no {kind} in {mode}")
    assert caged.render(body).pixels[0] == decode(body).tobytes()


def test_the_decoders_own_verdicts_come_through(caged: CagedDecoder) -> None:
    with pytest.raises(UnreadableImage, match="it looks like HTML") as raised:
        caged.render(b"<html>not found</html>")
    assert raised.value.code == "not_an_image"
