"""Names that come from elsewhere (S3 keys, published files), as paths that stay in the folder they are meant for."""

from __future__ import annotations

import os
from pathlib import Path

from sniffer.core.errors import ContractError
from sniffer.core.text import one_line

_MAX_PART_BYTES = 255
"""The longest name that the usual file systems take."""


def path_inside(folder: Path, name: str) -> Path:
    """The path of that relative name below the folder.

    Raises ContractError for a name that leaves the folder, or could on some system: absolute, with an empty, `.` or
    `..` part, a backslash or NUL, longer than a file system takes, or through a link that leads elsewhere.
    """
    problem = _problem(name) or _way_out(folder, name)
    if problem is not None:
        raise ContractError(f"the name {one_line(repr(name))} is not one to put into {folder}: {problem}")
    return folder / name


def _problem(name: str) -> str | None:
    parts = name.split("/")
    if "\0" in name or "\\" in name:
        return "it holds a NUL or a backslash"
    if not all(parts) or {".", ".."} & set(parts):
        return "it is absolute, or has an empty, `.` or `..` part"
    try:
        longest = max(len(os.fsencode(part)) for part in parts)
    except UnicodeEncodeError:
        return "it is not text that a file system takes"
    return f"a part of it is longer than {_MAX_PART_BYTES} bytes" if longest > _MAX_PART_BYTES else None


def _way_out(folder: Path, name: str) -> str | None:
    try:
        resolved = (folder / name).resolve()
        resolved.exists()
    except (OSError, RuntimeError) as error:
        return f"there is no such place ({one_line(error)})"
    return None if resolved.is_relative_to(folder.resolve()) else "it leads through a link to another place"
