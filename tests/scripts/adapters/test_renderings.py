"""What render makes of files that viewers show in one way, or in several."""

from __future__ import annotations

import numpy as np
import pytest
from support.pictures import FORMATS, encode, picture

from sniffer.adapters.images import decode, render


@pytest.mark.parametrize("format", FORMATS)
def test_an_ordinary_file_has_one_rendering_without_a_name(format: str) -> None:
    data = encode(picture(), format)
    shown = render(data)
    assert [rendering.name for rendering in shown.renderings] == [None]
    assert not shown.partial
    assert np.array_equal(shown.renderings[0].pixels, decode(data))
