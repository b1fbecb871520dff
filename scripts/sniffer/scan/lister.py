"""Lists a few pages ahead of the loop that hands the images out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future

from sniffer.core.records import ListedObject

PAGES_AHEAD = 2
"""Listed pages that wait for the loop; with what the ledger holds, all the memory that the listing takes."""


class Lister:
    """Pulls page after page on the one thread of `executor`. Everything else runs on the loop's thread.

    `wake` is called when a page has come, from that thread.
    """

    def __init__(self, pages: Iterator[list[ListedObject]], executor: Executor, wake: Callable[[], None]) -> None:
        self._pages = pages
        self._executor = executor
        self._wake = wake
        self._coming: deque[Future[list[ListedObject] | None]] = deque()
        self.finished = False

    def take(self) -> list[ListedObject] | None:
        """The next page, or None when none is there now; raises what ended the listing, if that was an error."""
        page = None
        if self._coming and self._coming[0].done():
            page = self._coming.popleft().result()
            self.finished = page is None
        self._pull()
        return page

    def stop(self) -> None:
        """List no further."""
        self.finished = True
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _pull(self) -> None:
        while not self.finished and len(self._coming) < PAGES_AHEAD:
            future = self._executor.submit(next, self._pages, None)
            future.add_done_callback(lambda _: self._wake())
            self._coming.append(future)
