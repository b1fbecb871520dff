"""The process that keeps the local stack's services running.

In: the services of `prepare_stack`. Out: what it says of them (`sniffer_local.supervision`), and a log. `make demo`
starts it, `make down` ends it. When it ends, in whatever way, the services go on, and the next one takes them over.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence

from sniffer.core.errors import SnifferError
from sniffer_local.keepers import logger, supervise
from sniffer_local.layout import Layout, add_root_flag
from sniffer_local.registry import Registry, only_one
from sniffer_local.stack import prepare_stack


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sniffer_local.supervisor", description=__doc__)
    add_root_flag(parser)
    parser.add_argument("--recipes", default="", help="digest of the services; only for telling supervisors apart")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; 1 when another supervisor of this stack runs."""
    layout = Layout(_arguments(argv).root)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    registry = Registry(layout.state, chooses_ports=False)
    try:
        with only_one(layout.supervision.with_suffix(".lock"), "another supervisor"):
            supervise(prepare_stack(layout, registry).tasks(), registry, layout.supervision, stop)
    except SnifferError as error:
        logger.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
