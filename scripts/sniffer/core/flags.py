"""From values to the words of a command line."""

from __future__ import annotations

from collections.abc import Mapping


def render_flags(values: Mapping[str, object]) -> list[str]:
    """Each as one word, so that no value is mistaken for a flag; what is None, empty or False is left out."""
    words = []
    for name, value in values.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif value is not False and value is not None and value != "":
            words.append(f"{flag}={value}")
    return words
