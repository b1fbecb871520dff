"""The command line's parser: defaults shown, one line for wrong usage, and flags' values with their bounds."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from sniffer.core.errors import SettingsError
from sniffer.core.logs import complain

WIDTH = 100


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of examples as they are, and adds the default to the help of every flag that has one."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=WIDTH)

    def _get_help_string(self, action: argparse.Action) -> str:
        text, default = action.help or "", action.default
        if "default" in text or not action.option_strings or default is None or default in (argparse.SUPPRESS, ""):
            return text
        if isinstance(default, bool):
            return text if action.nargs == 0 else f"{text} (default: {str(default).lower()})"
        return f"{text} (default: %(default)s)"

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        if action.type is Path:
            return "FILE"
        return "TEXT" if action.type in (None, str) else "N"


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, with the way out; it ends the program with exit status 2."""

    def __init__(self, prog: str, *, description: str = "", epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            description=fill(description),
            epilog=epilog,
            formatter_class=HelpFormatter,
            allow_abbrev=False,
            usage=f"{prog} [flags]",
        )

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse as argparse does, but report a misspelt flag before the required one that it was meant for."""
        words = sys.argv[1:] if args is None else list(args)
        for word in words:
            if word == "--":
                break
            flag = word.partition("=")[0]
            if re.fullmatch(r"--\w[\w-]*", flag) and flag not in self._option_string_actions:
                self.error(f"there is no flag {flag}{did_you_mean(flag, self._option_string_actions)}")
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, and end with exit status 2."""
        complain(self.prog, f"{_plain(message)} (see {self.prog} --help)")
        sys.exit(SettingsError.exit_status)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`: did you mean X?` for the known word that is most like this one, or an empty text."""
    similar = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f": did you mean {similar[0]}?" if similar else ""


def fill(text: str) -> str:
    """Paragraphs wrapped to the help's width."""
    paragraphs = re.split(r"\n\s*\n", textwrap.dedent(text).strip())
    return "\n\n".join(textwrap.fill(" ".join(paragraph.split()), WIDTH) for paragraph in paragraphs)


def positive(text: str) -> int:
    """A whole number above 0."""
    return _whole(text, 1, "a whole number above 0")


def count(text: str) -> int:
    """A whole number, 0 or above."""
    return _whole(text, 0, "a whole number, 0 or above")


def amount(text: str) -> float:
    """A number, 0 or above."""
    number = _number(text)
    # Written so that NaN is refused.
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be 0 or above, not {text}")
    return number


def seconds(text: str) -> float:
    """A duration in seconds, above 0."""
    number = _number(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0 seconds, not {text}")
    return number


def model_version(text: str) -> int:
    """The number of a model version."""
    return _whole(text, 1, "a model version: a whole number above 0")


def checked(parse: Callable[[str], Any], expected: str) -> Callable[[str], Any]:
    """The parser of a flag's value whose ValueError becomes `… is not EXPECTED`."""

    def parse_or_refuse(text: str) -> Any:
        try:
            return parse(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {expected}") from None

    return parse_or_refuse


def _whole(text: str, minimum: int, expected: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) >= minimum):
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def _plain(message: str) -> str:
    """argparse's words, as a person would say them."""
    message = re.sub(r"^argument ", "", message)
    message = re.sub(r"^the following arguments are required: (.*)$", r"\1 is required", message)
    return re.sub(r"^unrecognized arguments: (.*)$", r"\1 is not understood", message)
