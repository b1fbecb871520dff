"""The real consumer, but the bytes POISON end its process as a decoder's memory fault would."""

from __future__ import annotations

import os
import signal
import sys

from sniffer.adapters import images
from sniffer.scan import consume

_decode = images.decode


def _fragile(data: bytes, **limits: int) -> object:
    if b"POISON" in data:
        os.kill(os.getpid(), signal.SIGSEGV)
    return _decode(data, **limits)


images.decode = _fragile  # type: ignore[assignment]

if __name__ == "__main__":
    sys.exit(consume.main())
