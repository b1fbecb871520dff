"""Which listed objects a scan leaves out by rule: folder markers always, others as --include and --exclude say."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from fnmatch import translate

from sniffer.core.records import ListedObject, ScanRequest

_WILDCARD = re.compile(r"[*?[]")


class SkipCode(StrEnum):
    """Why an object is left out."""

    FOLDER_MARKER = "folder_marker"
    LEFT_OUT = "left_out"


class SkipRules:
    """The rules of one scan.

    A pattern with `*`, `?` or `[` is a glob over the whole key, in which `*` crosses slashes; any other is a suffix,
    in capitals or not, such as `.jpg`. Left out is what an --exclude matches, and what no --include does if there
    are some.
    """

    def __init__(self, request: ScanRequest) -> None:
        self.request = request
        self._include = _any_of(request.include)
        self._exclude = _any_of(request.exclude)
        self._has_include = bool(request.include)

    def code(self, image: ListedObject) -> SkipCode | None:
        """Why the object is left out; None when it is not."""
        if image.key.endswith("/") and image.size_bytes == 0:
            return SkipCode.FOLDER_MARKER
        if self._exclude(image.key) or (self._has_include and not self._include(image.key)):
            return SkipCode.LEFT_OUT
        return None


def _any_of(patterns: Sequence[str]) -> Callable[[str], bool]:
    globs = [re.compile(translate(pattern)).match for pattern in patterns if _WILDCARD.search(pattern)]
    suffixes = tuple(pattern.lower() for pattern in patterns if not _WILDCARD.search(pattern))
    return lambda key: key.lower().endswith(suffixes) or any(matches(key) for matches in globs)
