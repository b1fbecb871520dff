"""The review page as an ASGI app: its routes, and what is answered when something is wrong."""

from __future__ import annotations

import logging

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from sniffer.core.errors import SnifferError, TransientError
from sniffer.review.web import figures, images, leading, login, reviewing, webhook
from sniffer.review.web.parts import ReviewParts
from sniffer.review.web.rendering import STATIC, message
from sniffer.review.web.shield import HEALTH, Shield
from sniffer.review.web.visitors import NotAllowed, Stranger, visitor

log = logging.getLogger(__name__)

_STATIC_AGE_S = 31_536_000


class _Static(StaticFiles):
    """Static files, whose addresses change with them."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        """With leave to keep it."""
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = f"public, max-age={_STATIC_AGE_S}, immutable"
        return response


def make_app(parts: ReviewParts) -> FastAPI:
    """The app. It has no pages about itself: what there is, is in docs/review.md."""
    app = FastAPI(title="sniffer review", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.parts = parts
    for module in (login, reviewing, images, leading, figures, webhook):
        app.include_router(module.router)
    app.mount("/static", _Static(directory=STATIC))
    app.add_api_route(HEALTH, _health, methods=["GET"], response_class=PlainTextResponse)
    app.add_api_route("/", lambda: RedirectResponse("/review", 303), methods=["GET"], response_model=None)
    for kind, answer in (
        (Stranger, _to_login),
        (NotAllowed, _not_allowed),
        (RequestValidationError, _not_understood),
        (HTTPException, _not_found),
        (SnifferError, _failed),
        (Exception, _broken),
    ):
        app.add_exception_handler(kind, answer)
    app.add_middleware(Shield, url=parts.settings.url)
    return app


def _health(request: Request) -> Response:
    """Whether the database answers."""
    parts: ReviewParts = request.app.state.parts
    with parts.pool.use() as database:
        database.check()
    return PlainTextResponse("ok\n")


def _to_login(request: Request, _: Exception) -> Response:
    """A page leads a stranger to the form; a picture, and a form that was sent, are refused."""
    if request.method == "GET" and not request.url.path.startswith("/images/"):
        return RedirectResponse("/login", 303)
    text = (
        "Nobody is signed in here any more, so nothing was saved. Sign in, and do it again: a note that you wrote is "
        "kept in this tab, and comes back with its images."
    )
    return message(request, "Signed out", text, 401)


def _not_allowed(request: Request, error: Exception) -> Response:
    try:
        session = visitor(request)
    except Stranger:
        return _to_login(request, error)
    with request.app.state.parts.pool.use() as database:
        database.review_log.add(session.name, "refused", request.url.path[:300], why=str(error))
    return message(request, "Not allowed", f"{str(error)[:1].upper()}{str(error)[1:]}.", 403, session)


def _not_understood(request: Request, _: Exception) -> Response:
    return message(request, "Not understood", "This address or this form is not one of ours.", 400)


def _not_found(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    return message(request, "Not found", "There is no page here.", status)


def _failed(request: Request, error: Exception) -> Response:
    """Wrong usage is told in full; what stands behind us and does not answer is a matter for the log."""
    if isinstance(error, TransientError):
        log.warning("%s: %s", request.url.path, error)
        return message(request, "Not now", "The database does not answer. Nothing was saved: try again.", 503)
    return message(request, "Not done", str(error), 400)


def _broken(request: Request, error: Exception) -> Response:
    log.error("%s failed", request.url.path, exc_info=error)
    return message(request, "Broken", "Something is wrong with this page. Nothing was saved.", 500)
