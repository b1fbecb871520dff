"""What must hold between the pages of a listing: it goes on, ends, and has each key once."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod

from sniffer.adapters.s3.pages import BrokenPage, ListingPage

MAX_EMPTY_PAGES = 10_000
"""So many pages without a key, one after the other, are no listing any more."""


class Proof(ABC):
    """What must hold between pages. `check` may be asked again for another answer; `keep` takes the page in."""

    def __init__(self) -> None:
        self._tokens: set[bytes] = set()
        self._empty_pages = 0

    def check(self, page: ListingPage) -> None:
        """Raises BrokenPage."""
        if page.token is not None and _digest(page.token) in self._tokens:
            raise BrokenPage("the listing goes in a circle: a NextContinuationToken came before")
        if not page.objects and page.token is not None and self._empty_pages >= MAX_EMPTY_PAGES:
            raise BrokenPage(f"the listing goes on and on: {MAX_EMPTY_PAGES} pages without a key")
        self._check_keys([listed.key.encode(errors="surrogateescape") for listed in page.objects])

    def keep(self, page: ListingPage) -> None:
        """The page counts."""
        self._empty_pages = 0 if page.objects else self._empty_pages + 1
        if page.token is not None:
            self._tokens.add(_digest(page.token))
        self._keep_keys([listed.key.encode(errors="surrogateescape") for listed in page.objects])

    @abstractmethod
    def _check_keys(self, keys: list[bytes]) -> None:
        """Raises BrokenPage."""

    @abstractmethod
    def _keep_keys(self, keys: list[bytes]) -> None:
        """The page counts."""


class OrderedProof(Proof):
    """Keys ascend byte by byte, so none comes twice; all are after `after`."""

    def __init__(self, after: bytes = b"") -> None:
        super().__init__()
        self._last: bytes | None = after or None

    def _check_keys(self, keys: list[bytes]) -> None:
        last = self._last
        for key in keys:
            if last is not None and key <= last:
                raise BrokenPage(f"the listing is out of order: {key!r} comes after {last!r}")
            last = key

    def _keep_keys(self, keys: list[bytes]) -> None:
        self._last = keys[-1] if keys else self._last


class UnorderedProof(Proof):
    """Directory buckets list in no order: no key twice on a page, and no page twice. 32 bytes a page are kept."""

    def __init__(self) -> None:
        super().__init__()
        self._pages: set[bytes] = set()

    def _check_keys(self, keys: list[bytes]) -> None:
        if len(set(keys)) < len(keys):
            raise BrokenPage("the listing has a key twice on a page")
        if keys and _page_digest(keys) in self._pages:
            raise BrokenPage("the listing has a page twice")

    def _keep_keys(self, keys: list[bytes]) -> None:
        if keys:
            self._pages.add(_page_digest(keys))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]


def _page_digest(keys: list[bytes]) -> bytes:
    return hashlib.sha256(b"\0\0".join(sorted(keys))).digest()
