"""Who is asking: sessions by cookie, what a role may do, and that a form is one of ours."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from sniffer.core.review_accounts import ReviewRole, ReviewSession
from sniffer.review.web.parts import parts_of

STATE_COOKIE_S = 600
_TOKEN_BYTES = 32
_TOKEN_CHARS = 43


class Stranger(Exception):
    """Nobody is signed in."""


class NotAllowed(Exception):
    """This person may not do that; the text says who may."""


def cookie_name(request: Request, name: str = "session") -> str:
    """With TLS, one that no other host and no unencrypted page can set."""
    return f"__Host-sniffer-review-{name}" if parts_of(request).settings.is_https else f"sniffer-review-{name}"


def new_token() -> str:
    """256 random bits as text."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def token_of(request: Request) -> str:
    """The token of this request's cookie; empty without one."""
    return request.cookies.get(cookie_name(request), "")


def set_cookie(
    request: Request, response: Response, value: str, name: str = "session", max_age: int | None = None
) -> None:
    """A cookie that scripts cannot read, and that other sites' requests do not carry."""
    response.set_cookie(
        cookie_name(request, name),
        value,
        max_age=max_age,
        path="/",
        secure=parts_of(request).settings.is_https,
        httponly=True,
        samesite="lax",  # the provider's answer comes from another site
    )


def drop_cookie(request: Request, response: Response, name: str = "session") -> None:
    """The browser forgets it."""
    response.delete_cookie(
        cookie_name(request, name), path="/", secure=parts_of(request).settings.is_https, httponly=True, samesite="lax"
    )


def visitor(request: Request) -> ReviewSession:
    """Whoever is signed in; raises Stranger."""
    token = token_of(request)
    if len(token) != _TOKEN_CHARS:
        raise Stranger
    with parts_of(request).pool.use() as database:
        session = database.review_sessions.of_token(token)
    if session is None:
        raise Stranger
    return session


def _with_right(has: Callable[[ReviewRole], bool], who: str) -> Callable[[Request], ReviewSession]:
    def allowed(request: Request) -> ReviewSession:
        session = visitor(request)
        if not has(session.role):
            raise NotAllowed(f"this is for {who}")
        return session

    return allowed


deciding_visitor = _with_right(lambda role: role.decides, "reviewers and leads")
leading_visitor = _with_right(lambda role: role.leads, "leads")
auditing_visitor = _with_right(lambda role: role.audits, "leads and auditors")


def check_form(session: ReviewSession, csrf: str) -> None:
    """Raise NotAllowed unless the form was made for this very session."""
    if not hmac.compare_digest(session.csrf.encode(), csrf.encode(errors="replace")):
        raise NotAllowed("this form is of another session: reload the page, and send it again")
