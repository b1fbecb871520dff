"""What a program's `main` reads from its flags, without the program running."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import pytest


class _Parsed(Exception):
    """Carries what a program made of its flags out of the program."""

    def __init__(self, flags: argparse.Namespace) -> None:
        super().__init__(flags)
        self.flags = flags


def parsed_by(main: Callable[[Sequence[str]], object], argv: Sequence[str]) -> argparse.Namespace:
    """What `main(argv)` parses; fails where the program would end with a usage error."""
    parse_args = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser: argparse.ArgumentParser, args: Sequence[str] | None = None) -> argparse.Namespace:
        raise _Parsed(parse_args(parser, args))

    with pytest.MonkeyPatch.context() as patched, pytest.raises(_Parsed) as caught:
        patched.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
        main(argv)
    return caught.value.flags
