"""The project's model server with its polls a fifth of a second apart, which no flag of TensorFlow Serving can say."""

from __future__ import annotations

import argparse
import dataclasses
import sys

from sniffer_serve import server
from sniffer_serve.flags import ServeSettings, serve_settings

POLL_S = 0.2


def quick_settings(arguments: argparse.Namespace) -> ServeSettings:
    """Those of the flags, but for the polls."""
    return dataclasses.replace(serve_settings(arguments), model_config_poll_s=POLL_S, file_system_poll_s=POLL_S)


if __name__ == "__main__":
    server.serve_settings = quick_settings  # type: ignore[attr-defined]
    sys.exit(server.main())
