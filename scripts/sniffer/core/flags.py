"""From values to the words of a command line."""

from __future__ import annotations

from collections.abc import Mapping


def render_flags(values: Mapping[str, object]) -> list[str]:
    """Each as one word, so that no value is mistaken for a flag; what is None, empty or False is left out.

    A tuple is a flag for each of its members.
    """
    words = []
    for name, value in values.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, tuple):
            words += [f"{flag}={member}" for member in value]
            continue
        if value is True:
            words.append(flag)
        elif value is not False and value is not None and value != "":
            words.append(f"{flag}={value}")
    return words
