"""S3: list a bucket by pages, fetch its objects concurrently, put files. S3 is touched in this package only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from sniffer.adapters.s3.client import BucketClient
from sniffer.adapters.s3.errors import InaccessibleCode, Reaction, Refusal
from sniffer.adapters.s3.fetching import Fetcher, StoredObject, is_about_this_key
from sniffer.adapters.s3.files import BucketFiles
from sniffer.adapters.s3.keys import is_usable
from sniffer.adapters.s3.listing import Listing
from sniffer.adapters.s3.pages import BrokenPage, ListingPage
from sniffer.adapters.s3.storage_classes import is_archived
from sniffer.core.errors import SettingsError, TransientError
from sniffer.core.key_ranges import ALL_KEYS, KeyRange
from sniffer.core.records import ListedObject
from sniffer.core.retry import not_counted

TRIED = 10
"""Objects that `check` asks for, at most, before it says that none can be read."""


class Bucket:
    """One S3 bucket. `check` comes first; `fetch` and `read` may then be called from many threads at once.

    `patience_s` bounds how long an S3 that fails for the moment, or does not answer, is retried before giving up.
    `requester_pays`: whoever asks, pays, and says so. `on_retry` is called for each retry, from any thread.
    """

    def __init__(
        self,
        name: str,
        *,
        patience_s: float,
        max_bytes: int,
        connections: int = 16,
        requester_pays: bool = False,
        on_retry: Callable[[], None] = not_counted,
    ) -> None:
        self.name = name
        self._max_bytes = max_bytes
        self._client = BucketClient(
            name, patience_s=patience_s, connections=connections, requester_pays=requester_pays, on_retry=on_retry
        )
        self._listing = Listing(self._client)
        self._files = BucketFiles(self._client)
        self._fetcher: Fetcher | None = None

    def check(self, prefix: str = "", *, reads_all: bool = True) -> ListedObject | None:
        """Fail at once, in one line, when the prefix cannot be listed, or nothing of it read.

        Returns the object that S3 gave; None when none was tried, or the few that were may not be read. Without
        `reads_all`, for whoever may read some objects only, none is tried. Raises SettingsError or TransientError.
        """
        try:
            first = self._listing.first(prefix, TRIED)
            self._fetcher = Fetcher(self._client, self._listing, self._max_bytes)
            return self._try_objects(self._fetcher, prefix, first) if reads_all else None
        except BrokenPage as error:
            raise TransientError(f"{self._client.place} gives no listing ({error}): check AWS_ENDPOINT_URL") from error
        except (BotoCoreError, ClientError) as error:
            raise self._client.explain(error) from error

    def holds(self, prefix: str) -> bool:
        """Whether there is any object under the prefix."""
        return self._listing.holds(prefix)

    def pages(self, prefix: str, keys: KeyRange = ALL_KEYS) -> Iterator[list[ListedObject]]:
        """The objects under the prefix with keys in that range, in S3's order. No page is empty or above 1,000.

        Each page is proven to be S3's listing of that bucket and prefix. Raises SettingsError when S3 refuses,
        TransientError when it gives no whole listing.
        """
        return self._listing.pages(prefix, keys)

    def keys_after(self, prefix: str, after: str) -> ListingPage:
        """The first page under the prefix after that key, as a sample: its order is not proven. May be asked at once
        from many threads. Raises as `pages` does.
        """
        return self._listing.keys_after(prefix, after)

    def folders(self, prefix: str) -> ListingPage:
        """The first page of what is under the prefix, in which keys with another `/` count as one folder.

        May be asked at once from many threads; raises as `pages` does.
        """
        return self._listing.folders(prefix)

    @property
    def is_ordered(self) -> bool:
        """Whether it lists in the order of keys: directory buckets do not."""
        return not self._client.is_directory

    def listed(self, key: str) -> ListedObject | None:
        """The object under that key as S3 lists it now; None without one. Raises as `pages` does."""
        return self._listing.look_up(key)

    def fetch(self, image: ListedObject) -> bytes:
        """The object's bytes, if it is still the one that was listed; raises NotFetched otherwise.

        Raises SettingsError when S3 would refuse every other request as well.
        """
        return self._ready.fetch(image)

    def read(self, key: str) -> StoredObject:
        """The object under that key, whatever it is now; raises as `fetch` does."""
        return self._ready.read(key)

    def inaccessible_code(self, image: ListedObject) -> str:
        """The code with which S3 refuses that object now; "" when it gives it, or something else is the matter."""
        return self._ready.inaccessible_code(image.key)

    def create(self, key: str, data: bytes) -> bool:
        """Put a small object where none is; False when one is there. Of several creators at once one gets True."""
        return self._files.create(key, data)

    def keep(self, key: str, data: bytes) -> str:
        """Put an object, which S3 checks by its SHA-256; returns its version, "" where there are none.

        Where that key has these very bytes already, nothing is put. Needs no `check`.
        """
        return self._files.keep(key, data)

    def remove(self, key: str) -> int:
        """Delete every version of that very key; returns how many there were. Idempotent; needs no `check`."""
        return self._files.remove(key)

    def upload(self, path: Path, key: str) -> None:
        """Put a file of up to 5 GB; what was there is replaced as a whole."""
        self._files.upload(path, key)

    def link(self, key: str, seconds: int) -> str:
        """An address at which anybody may read the object for so long, at most seven days; nothing is asked.

        It ends sooner where the credentials do.
        """
        return self._files.link(key, seconds)

    def download(self, listed: ListedObject, path: Path) -> None:
        """Write an object of any size to a file, if it is as long as was listed; raises NotFetched as `read` does."""
        self._files.download(listed, path)

    def save(self, key: str, path: Path, most_bytes: int) -> None:
        """Write what is under that key to a file, whole; raises NotFetched as `read` does, and for more bytes.

        Needs no `check`: whoever calls it may have no right to list.
        """
        self._files.save(key, path, most_bytes)

    @property
    def _ready(self) -> Fetcher:
        if self._fetcher is None:
            raise RuntimeError("Bucket.check() comes before fetch() and read()")
        return self._fetcher

    def _try_objects(self, fetcher: Fetcher, prefix: str, first: list[ListedObject]) -> ListedObject | None:
        """An object that S3 gives: one of the first, or one from elsewhere when so many in a row are refused."""
        refusals: list[Refusal] = []
        given = self._first_given(fetcher, first, refusals)
        if given is None and len(refusals) >= TRIED:
            given = self._first_given(fetcher, self._listing.spread(prefix), refusals)
        if given is not None:
            fetcher.remember(given)
        elif len(refusals) >= TRIED and all(
            refusal.inaccessible_code == InaccessibleCode.ACCESS_DENIED for refusal in refusals
        ):
            raise SettingsError(
                f"no permission to read {self._client.place} ({refusals[0]}): the credentials need s3:GetObject"
            )
        return given

    def _first_given(
        self, fetcher: Fetcher, objects: Iterable[ListedObject], refusals: list[Refusal]
    ) -> ListedObject | None:
        for listed in objects:
            if is_archived(listed.storage_class) or not is_usable(listed.key):
                continue
            refusal = fetcher.ask_for(listed.key)
            if refusal is None:
                return listed
            if refusal.reaction is Reaction.STOP and not is_about_this_key(refusal, listed.key):
                raise refusal.stopped(self._client.place)
            if refusal.reaction is Reaction.RETRY:
                raise TransientError(
                    f"{self._client.place} can be listed, but a GET of {listed.key!r} fails ({refusal}): try later"
                )
            refusals.append(refusal)
        return None
