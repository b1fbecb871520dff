"""The model server's settings from its flags, as its program reads them."""

from __future__ import annotations

from collections.abc import Sequence

from sniffer_serve.flags import ServeSettings, serve_settings
from sniffer_serve.server import PROGRAM


def parse_flags(argv: Sequence[str]) -> ServeSettings:
    return serve_settings(PROGRAM.parser().parse_args(argv))
