"""What the review page does beside answering: keeps the queue up to date, hashes what came in, copies what is out."""

from __future__ import annotations

import logging
import threading
import time

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import SnifferError
from sniffer.core.settings import DatabaseSettings
from sniffer.core.shown_images import ShownImage
from sniffer.review.keeping import ImageKeeper, KeepingProgress, keep_missing
from sniffer.review.web.pictures import NotShown, PictureSource

log = logging.getLogger(__name__)

REFRESH_S = 60.0
_BATCH = 20
_UNSHOWN_FOR_S = 3600.0
"""An image that could not be had is tried again after that."""
_LOOK_AT_ALL_S = 600.0
"""What failed is found again by a look at all decisions, so often."""


class Preparing(threading.Thread):
    """Near-duplicates come in one batch only once they are hashed, so this begins with those that come first."""

    def __init__(
        self,
        settings: DatabaseSettings,
        pictures: PictureSource,
        refresh_s: float = REFRESH_S,
        keeper: ImageKeeper | None = None,
    ) -> None:
        super().__init__(name="preparing", daemon=True)
        self._settings = settings
        self._pictures = pictures
        self._refresh_s = refresh_s
        self._keeper = keeper
        self._progress = KeepingProgress()
        self._stop_asked = threading.Event()
        self._failed: dict[int, float] = {}
        self._looked_at_all = time.monotonic()

    def run(self) -> None:
        """Until stop() is called. What goes wrong is logged, and tried again a minute later."""
        with Database(self._settings) as database:
            while not self._stop_asked.is_set():
                try:
                    database.review_queue.refresh()
                    self._hash(database)
                except SnifferError as error:
                    log.warning("the queue could not be brought up to date: %s", error)
                self._keep(database)
                self._stop_asked.wait(self._refresh_s)

    def stop(self) -> None:
        """End it; waits for the image that is being hashed."""
        self._stop_asked.set()
        self.join(10)

    def _keep(self, database: Database) -> None:
        """Copies of what was decided elsewhere, or could not be had at the moment of its decision."""
        if self._keeper is None:
            return
        try:
            if self._due():
                self._progress = KeepingProgress()
            keep_missing(database, self._keeper, self._progress, stops=self._stop_asked.is_set)
        except SnifferError as error:
            log.warning("decided images could not be copied, which is tried again: %s", error)

    def _due(self) -> bool:
        """Whether it is time to look at all decisions again: those whose copy somebody else has begun and not ended."""
        now = time.monotonic()
        is_due = now - self._looked_at_all >= _LOOK_AT_ALL_S
        self._looked_at_all = now if is_due else self._looked_at_all
        return is_due

    def _hash(self, database: Database) -> None:
        until = time.monotonic() + self._refresh_s
        while not self._stop_asked.is_set() and time.monotonic() < until:
            now = time.monotonic()
            waiting = database.review_queue.without_hash(_BATCH + len(self._failed))
            new = [item for item in waiting if now - self._failed.get(item.image_id, -_UNSHOWN_FOR_S) >= _UNSHOWN_FOR_S]
            if not new:
                return
            for item in new[:_BATCH]:
                if self._stop_asked.is_set():
                    return
                self._hash_one(database, item.image_id)

    def _hash_one(self, database: Database, image_id: int) -> None:
        image: ShownImage | None = database.review_images.get(image_id)
        try:
            if image is not None:
                database.near_duplicates.store({image_id: self._pictures.small(image).near_hash})
                self._failed.pop(image_id, None)
                return
        except NotShown as error:
            log.info("image %d is not shown: %s", image_id, error)
        self._failed[image_id] = time.monotonic()
