"""Pictures of images, to whoever may see them: covered ones freely, clear ones and originals each as a look."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from sniffer.adapters.mysql.database import Database
from sniffer.core.review_accounts import LookKind, ReviewSession
from sniffer.core.shown_images import ShownImage
from sniffer.review.web.parts import parts_of
from sniffer.review.web.pictures import NotShown
from sniffer.review.web.rendering import message
from sniffer.review.web.visitors import NotAllowed, visitor

router = APIRouter()

ImageId = Annotated[int, Path(ge=1, lt=1 << 63)]
Visitor = Annotated[ReviewSession, Depends(visitor)]

_NOTHING_BUT_A_PICTURE = "default-src 'none'; sandbox"


@router.get("/images/{image_id}/covered")
def covered(request: Request, image_id: ImageId, session: Visitor) -> Response:
    """Blurred and grey."""
    image = _seen_image(request, image_id, session)
    try:
        data = parts_of(request).pictures.small(image).covered
    except NotShown as error:
        return _none(error)
    return Response(data, media_type="image/jpeg")


@router.get("/images/{image_id}/clear")
def clear(request: Request, image_id: ImageId, session: Visitor) -> Response:
    """As it is, small. That it was asked for is recorded before it goes out."""
    image = _seen_image(request, image_id, session)
    try:
        data = parts_of(request).pictures.small(image).clear
    except NotShown as error:
        return _none(error)
    with parts_of(request).pool.use() as database:
        database.review_looks.add(image_id, session.name, LookKind.UNBLURRED)
    return Response(data, media_type="image/jpeg")


@router.get("/images/{image_id}/original")
def original(request: Request, image_id: ImageId, session: Visitor) -> Response:
    """The object itself, recorded and logged. What a browser would not show as a picture alone comes as a file."""
    image = _seen_image(request, image_id, session)
    try:
        found = parts_of(request).pictures.original(image)
    except NotShown as error:
        return message(request, "Not shown", f"The original cannot be shown: {error}.", 409, session)
    with parts_of(request).pool.use() as database:
        database.review_looks.add(image_id, session.name, LookKind.ORIGINAL)
        database.review_log.add(session.name, "original", str(image_id))
    kind = found.media_type or "application/octet-stream"
    how = "inline" if found.media_type else "attachment"
    headers = {
        "Content-Security-Policy": _NOTHING_BUT_A_PICTURE,
        "Content-Disposition": f'{how}; filename="image-{image_id}"',
    }
    return Response(found.data, media_type=kind, headers=headers)


def _seen_image(request: Request, image_id: int, session: ReviewSession) -> ShownImage:
    """The image, if this person has a reason to see it: it is open before, or was decided by, this very person.

    Leads and auditors may see every image. Whether there is one of that number is not told to others.
    """
    with parts_of(request).pool.use() as database:
        if not (session.role.audits or _is_theirs(database, image_id, session.name)):
            raise NotAllowed("this image is not open before you: its lease has ended, or somebody else has it")
        image = database.review_images.get(image_id)
    if image is None:
        raise NotAllowed("there is no such image")
    return image


def _is_theirs(database: Database, image_id: int, name: str) -> bool:
    if any(item.image_id == image_id for item in database.review_leases.held(name)):
        return True
    return any(row.reviewer == name for row in database.review_decisions.of_image(image_id))


def _none(error: NotShown) -> Response:
    """Why there is no picture, in a header's place: the page says it beside the empty frame."""
    return PlainTextResponse(f"{error.why}: {error}", 409)
