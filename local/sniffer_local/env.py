"""`sniffer local env`: export lines for a shell on the demo's stack.

Out: lines for `eval`, on standard output and nowhere else, since they hold passwords.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from sniffer.core.errors import SettingsError, TransientError
from sniffer.core.program import Program
from sniffer_local.airflow import LOGIN
from sniffer_local.layout import Layout, add_root_flag
from sniffer_local.registry import Registry
from sniffer_local.stack import MARIADB, Stack, prepare_stack


def shell_environ(stack: Stack) -> dict[str, str]:
    """What a shell needs to use our programs, and Airflow's own command, on that stack. Holds passwords."""
    password = quote(stack.airflow.password, safe="")
    return {
        **stack.airflow.environ(),
        **stack.program_environ(),
        "SNIFFER_AIRFLOW_URL": f"http://{LOGIN}:{password}@127.0.0.1:{stack.airflow.port}",
    }


def export_lines(environ: Mapping[str, str]) -> str:
    """The variables as a POSIX shell takes them, and our programs first on the path."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in environ.items()]
    return "\n".join([*lines, f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"'])


def _run(arguments: argparse.Namespace) -> int:
    if sys.stdout.isatty():
        raise SettingsError(
            'the lines hold passwords, so they are not shown on a terminal: eval "$(sniffer local env)" takes them over'
        )
    layout = Layout(arguments.root)
    registry = Registry(layout.state, chooses_ports=False)
    if not registry.is_alive(MARIADB):
        raise TransientError("the demo's stack does not run: start it by `make demo`")
    print(export_lines(shell_environ(prepare_stack(layout, registry))))
    return 0


PROGRAM = Program(
    command="sniffer local env",
    summary="Print the settings of the demo's stack as export lines, so that this shell's `sniffer`, `airflow` and AWS "
    "clients work on it. The lines hold passwords: let the shell take them over by eval, and keep them out of files.",
    run=_run,
    add_arguments=add_root_flag,
    examples=('eval "$(sniffer local env)"', "sniffer doctor --bucket sniffer-demo"),
    extra="dev",
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
