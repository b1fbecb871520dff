"""What the routes of the review page work with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.requests import Request

from sniffer.core.review_settings import ReviewSettings
from sniffer.review.web.oidc import OidcProvider
from sniffer.review.web.pictures import PictureSource, WhyNot
from sniffer.review.web.pool import DatabasePool


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

    def changed(self, image_ids: Sequence[int]) -> dict[int, WhyNot]:
        """Which of these were replaced or deleted since they were scored: as scans have seen, and as S3 says now."""
        with self.pool.use() as database:
            images = [image for one in image_ids if (image := database.review_images.get(one)) is not None]
        known = {image.image_id: WhyNot.REPLACED for image in images if image.is_replaced}
        return known | self.pictures.changed([image for image in images if image.image_id not in known])


def parts_of(request: Request) -> ReviewParts:
    """The parts of the app that answers this request."""
    parts: ReviewParts = request.app.state.parts
    return parts
