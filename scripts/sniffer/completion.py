"""`sniffer completion SHELL`: what a shell needs to complete our commands and flags."""

from __future__ import annotations

import argparse
import sys

from sniffer.core.parser import Parser
from sniffer.core.program import Program
from sniffer.core.streams import show

SHELLS = ("bash", "zsh", "fish")


def _add_arguments(parser: Parser) -> None:
    parser.add_argument("shell", choices=SHELLS, metavar="|".join(SHELLS), help="the shell that it is for")


def _run(arguments: argparse.Namespace) -> int:
    from argcomplete.shell_integration import shellcode

    show(shellcode(["sniffer"], shell=arguments.shell))
    return 0


PROGRAM = Program(
    command="sniffer completion",
    summary="Print the lines that let a shell complete commands and flags by the Tab key. Put them where your shell "
    "reads its settings at the start.",
    run=_run,
    add_arguments=_add_arguments,
    examples=(
        'eval "$(sniffer completion bash)"                                  # in ~/.bashrc',
        'eval "$(sniffer completion zsh)"                                   # in ~/.zshrc, after compinit',
        "sniffer completion fish > ~/.config/fish/completions/sniffer.fish",
    ),
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
