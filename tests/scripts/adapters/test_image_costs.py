"""No file costs more than 3 s of CPU and 1 GiB, whatever it holds."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from support.bombs import BOMBS
from support.decode_cost import cost_of
from support.pictures import encode, picture

from sniffer.core.errors import UnreadableImage
from sniffer.core.settings import ImageSettings
from sniffer.decoding.process import open_decoder


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_no_file_costs_more_than_3_s_and_1_gib(name: str, tmp_path: Path) -> None:
    cost = cost_of(BOMBS[name](), tmp_path)
    assert cost.cpu_s < 3
    assert cost.peak_bytes < 1 << 30


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["JXL", "WEBP"])
def test_a_phones_50_megapixels_are_scored_in_every_format(kind: str, tmp_path: Path) -> None:
    photo = picture(340, 255).resize((8160, 6120), Image.Resampling.BICUBIC)
    if kind == "JXL":
        data = imagecodecs.jpegxl_encode(np.asarray(photo), level=85, effort=3)
    else:
        data = encode(photo, "WEBP", quality=80, method=0)
    cost = cost_of(bytes(data), tmp_path)
    assert cost.outcome == "1"
    assert cost.cpu_s < 3
    assert cost.peak_bytes < 1 << 30


@pytest.mark.slow
def test_a_jpeg_xl_that_costs_more_than_its_size_tells_meets_the_limit_of_its_process() -> None:
    noise = np.random.default_rng(1).integers(0, 16, (5000, 6000, 3), dtype=np.uint8)
    data = imagecodecs.jpegxl_encode(noise, lossless=True, effort=4)
    with open_decoder(ImageSettings()) as decoder, pytest.raises(UnreadableImage) as caught:
        decoder.render(bytes(data))
    assert caught.value.code == "over_cost_limit"
