"""What the routes of the review page work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.requests import Request

from sniffer.core.review_settings import ReviewSettings
from sniffer.review.web.oidc import OidcProvider
from sniffer.review.web.pictures import PictureSource
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


def parts_of(request: Request) -> ReviewParts:
    """The parts of the app that answers this request."""
    parts: ReviewParts = request.app.state.parts
    return parts
