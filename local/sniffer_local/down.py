"""`sniffer local down`: end what `make demo` started, and nothing else. Data and ports are kept."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from botocore.exceptions import BotoCoreError, ClientError

from sniffer.core.program import Program
from sniffer_local.layout import Layout, add_root_flag
from sniffer_local.registry import Registry, only_one
from sniffer_local.s3 import s3_client
from sniffer_local.s3_state import save

STOP_LIMIT_S = 20.0


def stop_stack(layout: Layout) -> list[str]:
    """Save what is in memory only, then stop Airflow, then the rest; returns the names of the services that ran."""
    registry = Registry(layout.state)
    names = registry.names()
    _save_objects(layout, registry)
    airflow = [name for name in names if name.startswith("airflow-")]
    others = [name for name in names if name not in airflow]
    return registry.stop(airflow, STOP_LIMIT_S) + registry.stop(others, STOP_LIMIT_S)


def _save_objects(layout: Layout, registry: Registry) -> None:
    if not registry.is_alive("s3"):
        return
    try:
        save(s3_client(registry.port("s3")), layout.s3)
    except (BotoCoreError, ClientError) as error:
        print(f"down: the local S3 does not answer, objects put since the last demo are lost: {error}", file=sys.stderr)


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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; the exit status is 0 also when nothing ran."""
    return PROGRAM.main(argv)


if __name__ == "__main__":
    sys.exit(main())
