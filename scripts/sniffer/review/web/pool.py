"""Connections to MySQL for the threads that answer requests: so many at most, each for one request at a time."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import TransientError
from sniffer.core.settings import DatabaseSettings

CONNECTIONS = 8
_WAIT_S = 30.0


class DatabasePool:
    """Databases that are lent out. A connection is opened when it is first used."""

    def __init__(self, settings: DatabaseSettings, size: int = CONNECTIONS) -> None:
        # The one that was used last comes first: in quiet times one connection is enough.
        self._free: queue.LifoQueue[Database] = queue.LifoQueue()
        for _ in range(size):
            self._free.put(Database(settings))

    @contextlib.contextmanager
    def use(self) -> Iterator[Database]:
        """One of them, for this thread alone. TransientError when none comes free in time."""
        try:
            database = self._free.get(timeout=_WAIT_S)
        except queue.Empty:
            raise TransientError("the review page has more to do than its connections to MySQL can carry") from None
        try:
            yield database
        finally:
            self._free.put(database)

    def close(self) -> None:
        """Give back those that are free."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._free.get_nowait().close()
