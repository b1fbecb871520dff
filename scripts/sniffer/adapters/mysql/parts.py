"""Many items in as few statements as the server takes: halves of what is above its max_allowed_packet."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from sniffer.adapters.mysql.errors import StatementTooLarge

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_R = TypeVar("_R")


class Parts:
    """Remembers how many items went into one statement, so that a large batch is refused once and not each time."""

    def __init__(self) -> None:
        self._most: int | None = None

    def each(self, items: Sequence[_T], work: Callable[[Sequence[_T]], Sequence[_R]]) -> list[_R]:
        """What `work` returns of all items, in their order; it is given as many at once as the server takes.

        Each part is a transaction of its own. Raises StatementTooLarge for one item that is above the limit alone.
        """
        found: list[_R] = []
        at = 0
        while at < len(items):
            part = items[at : at + (self._most or len(items))]
            try:
                found += work(part)
            except StatementTooLarge as error:
                if len(part) == 1:
                    raise
                self._most = (len(part) + 1) // 2
                log.warning("%d at once from now on: %s", self._most, error)
            else:
                at += len(part)
        return found
