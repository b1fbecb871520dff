"""`sniffer local down`: end what `make demo` started, and nothing else. Data and ports are kept."""

from __future__ import annotations

import argparse
import sys

from sniffer.core.program import Program
from sniffer_local.layout import Layout, add_root_flag
from sniffer_local.registry import Registry, only_one
from sniffer_local.supervision import SUPERVISOR

STOP_LIMIT_S = 60.0


def stop_stack(layout: Layout) -> list[str]:
    """Stop the supervisor, then Airflow, then the rest; returns the names of what ran."""
    registry = Registry(layout.state)
    stopped = [SUPERVISOR] if registry.stop_alone(SUPERVISOR, STOP_LIMIT_S) else []
    names = registry.names()
    airflow = [name for name in names if name.startswith("airflow-")]
    stopped += registry.stop(airflow, STOP_LIMIT_S)
    stopped += registry.stop([name for name in names if name not in airflow], STOP_LIMIT_S)
    layout.supervision.unlink(missing_ok=True)
    return stopped


def _run(arguments: argparse.Namespace) -> int:
    layout = Layout(arguments.root)
    with only_one(layout.lock, "make demo"):
        stopped = stop_stack(layout)
    print("stopped " + ", ".join(stopped) if stopped else "nothing was running")
    return 0


PROGRAM = Program(
    command="sniffer local down",
    summary="Stop what `sniffer local demo` started, and nothing else. Its data and ports are kept.",
    run=_run,
    add_arguments=add_root_flag,
    examples=("sniffer local down",),
    extra="dev",
    grace_s=None,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
