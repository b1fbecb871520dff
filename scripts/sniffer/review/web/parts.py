"""What the routes of the review page work with."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.requests import Request

from sniffer.core.errors import SnifferError
from sniffer.core.kept_images import DecidedBytesAt
from sniffer.core.review_settings import ReviewSettings
from sniffer.review.keeping import ImageKeeper
from sniffer.review.web.oidc import OidcProvider
from sniffer.review.web.pictures import PictureSource, WhyNot
from sniffer.review.web.pool import DatabasePool

log = logging.getLogger(__name__)

KEEPING_S = 10.0
"""So long a decision waits for the copies of its images."""


def utc_clock() -> datetime:
    """This moment."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class ReviewParts:
    """The page's settings, its database and pictures, the provider if there is one, and the clock."""

    settings: ReviewSettings
    pool: DatabasePool
    pictures: PictureSource
    oidc: OidcProvider | None = None
    clock: Callable[[], datetime] = utc_clock
    keeper: ImageKeeper | None = None

    def changed(self, image_ids: Sequence[int]) -> dict[int, WhyNot]:
        """Which of these were replaced or deleted since they were scored: as scans have seen, and as S3 says now."""
        with self.pool.use() as database:
            images = [image for one in image_ids if (image := database.review_images.get(one)) is not None]
        known = {image.image_id: WhyNot.REPLACED for image in images if image.is_replaced}
        return known | self.pictures.changed([image for image in images if image.image_id not in known])

    def keep(self, image_ids: Sequence[int]) -> None:
        """Copy these images' bytes, if that is asked for: before the decision, so that who acts on it comes after.

        A copy that cannot be had now holds no decision up: it is logged, and tried again within minutes.
        """
        if self.keeper is None:
            return
        with self.pool.use() as database:
            found = [image for one in image_ids if (image := database.review_images.get(one)) is not None]
            wanted = [
                DecidedBytesAt(image.content_hash, image.bucket, image.key) for image in found if image.content_hash
            ]
            try:
                self.keeper.keep(database, wanted, patience_s=KEEPING_S)
            except SnifferError as error:
                log.warning("images are decided without a copy, which is tried again: %s", error)


def parts_of(request: Request) -> ReviewParts:
    """The parts of the app that answers this request."""
    parts: ReviewParts = request.app.state.parts
    return parts
