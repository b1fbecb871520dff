"""Foreign texts, as our own messages quote them."""

from __future__ import annotations


def one_line(text: object, longest: int = 300) -> str:
    """The text, or the message of an error, on one line of at most `longest` characters."""
    return " ".join(str(text).split())[:longest]
