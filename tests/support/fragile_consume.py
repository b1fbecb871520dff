"""The real consumer, but the bytes POISON end its process, as running out of memory would."""

from __future__ import annotations

import os
import signal
import sys

from sniffer.decoding.caged import CagedDecoder
from sniffer.decoding.frames import RenderedPicture
from sniffer.scan import consume

_render = CagedDecoder.render


def _fragile(decoder: CagedDecoder, body: bytes) -> RenderedPicture:
    if b"POISON" in body:
        os.kill(os.getpid(), signal.SIGKILL)
    return _render(decoder, body)


CagedDecoder.render = _fragile  # type: ignore[assignment]

if __name__ == "__main__":
    sys.exit(consume.main())
