"""What a command that stands for several says: its help, and what is wrong with the words after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sniffer.core.errors import SettingsError
from sniffer.core.logs import complain
from sniffer.core.parser import did_you_mean, fill
from sniffer.core.streams import show


def answer(name: str, commands: Mapping[str, str], words: Sequence[str], *, summary: str, flags: str = "") -> int:
    """Answer words that name none of the commands; returns the exit status.

    `commands` says in a few words what each does; `flags` is a line of usage for what the group itself takes.
    """
    match list(words):
        case ["-h" | "--help", *_]:
            show(_help(name, commands, summary, flags))
            return 0
        case [word, *_]:
            kind = "flag" if word.startswith("-") else "command"
            known = [*(command.split()[0] for command in commands), *flags.split(), "--help"]
            return refuse(name, f"there is no {kind} {word}{did_you_mean(word, known)} (see {name} --help)")
        case _:
            firsts = ", ".join(dict.fromkeys(command.split()[0] for command in commands))
            return refuse(name, f"name a command: {firsts} (see {name} --help)")


def refuse(command: str, text: str) -> int:
    """Say what is wrong with the command; returns the exit status of wrong usage."""
    complain(command, text)
    return SettingsError.exit_status


def _help(name: str, commands: Mapping[str, str], summary: str, flags: str) -> str:
    width = max(len(command) for command in commands)
    lines = [
        f"usage: {name} COMMAND [flags]",
        *([f"       {name} {flags}"] if flags else []),
        "",
        fill(summary),
        "",
        "commands:",
        *(f"  {command:<{width}}  {line}" for command, line in commands.items()),
        "",
        "Every command has its own --help, with examples and the environment variables that it reads.",
    ]
    return "\n".join(lines)
