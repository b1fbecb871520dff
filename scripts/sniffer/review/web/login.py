"""Signing in and out: by password, or by an OpenID Connect provider."""

from __future__ import annotations

import hmac
import logging
import secrets
from typing import Annotated

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import SnifferError
from sniffer.core.review_accounts import MOST_NAME_CHARS, OidcLogin, ReviewAccount
from sniffer.core.text import one_line
from sniffer.review.passwords import LONGEST_PASSWORD, is_password
from sniffer.review.web.parts import parts_of
from sniffer.review.web.rendering import message, page
from sniffer.review.web.visitors import (
    STATE_COOKIE_S,
    Stranger,
    check_form,
    cookie_name,
    drop_cookie,
    new_token,
    set_cookie,
    token_of,
    visitor,
)

log = logging.getLogger(__name__)

ATTEMPTS_WINDOW_S = 900.0
_OF_NAME_AND_ADDRESS, _OF_ADDRESS, _OF_NAME = 5, 30, 50
"""Tries within that time. Of a name alone many, since a stranger must not be able to lock a person out."""

router = APIRouter()


@router.get("/login")
def show_login(request: Request) -> Response:
    """The form."""
    try:
        visitor(request)
    except Stranger:
        return page(request, "login.html", None, problem="", name="")
    return RedirectResponse("/review", 303)


@router.post("/login")
def log_in(request: Request, name: Annotated[str, Form()] = "", password: Annotated[str, Form()] = "") -> Response:
    """A session for whoever knows the password. Which names exist is not told, nor seen by the time it takes."""
    shown = name[:MOST_NAME_CHARS]
    keys = _attempt_keys(shown, request.client.host if request.client else "")
    with parts_of(request).pool.use() as database:
        if not database.review_sessions.count_attempt(keys, ATTEMPTS_WINDOW_S):
            database.review_log.add("", "login_limited", one_line(shown, 100), address=_address(request))
            response = page(
                request,
                "login.html",
                None,
                429,
                problem="Too many tries. Wait a quarter of an hour, or ask a lead for a new password.",
                name=shown,
            )
            response.headers["Retry-After"] = str(int(ATTEMPTS_WINDOW_S))
            return response
        account = database.review_accounts.get(name) if len(name) <= MOST_NAME_CHARS else None
        known = account.password_hash if account is not None else None
    # Outside of the database's connection: it takes a tenth of a second, and 64 MiB.
    is_right = len(password) <= LONGEST_PASSWORD and is_password(password, known)
    with parts_of(request).pool.use() as database:
        if account is None or not is_right or account.is_disabled:
            database.review_log.add("", "login_failed", one_line(shown, 100), address=_address(request))
            return page(request, "login.html", None, 401, problem="The name or the password is wrong.", name=shown)
        database.review_sessions.forget_attempts(list(keys))
        return _signed_in(request, database, account, "password")


@router.post("/logout")
def log_out(request: Request, csrf: Annotated[str, Form()] = "") -> Response:
    """End the session."""
    session = visitor(request)
    check_form(session, csrf)
    with parts_of(request).pool.use() as database:
        database.review_leases.give_back(
            [item.image_id for item in database.review_leases.held(session.name)], session.name
        )
        database.review_sessions.end(token_of(request))
        database.review_log.add(session.name, "logout")
    response = RedirectResponse("/login", 303)
    drop_cookie(request, response)
    return response


@router.get("/login/oidc")
def begin_oidc(request: Request) -> Response:
    """Send the browser to the provider."""
    parts = parts_of(request)
    if parts.oidc is None:
        return message(request, "Not found", "There is no page here.", 404, back="/login")
    state, login = new_token(), OidcLogin(secrets.token_urlsafe(32), secrets.token_urlsafe(48))
    try:
        url = parts.oidc.begin(state, login)
    except SnifferError as error:
        return message(request, "Not signed in", str(error), 503, back="/login")
    with parts.pool.use() as database:
        database.review_sessions.begin_oidc(state, login)
    response = RedirectResponse(url, 303)
    set_cookie(request, response, state, "state", STATE_COOKIE_S)
    return response


@router.get("/login/oidc/done")
def finish_oidc(request: Request, code: str = "", state: str = "", error: str = "") -> Response:
    """The provider has sent the browser back: to the same browser that was sent there, and once."""
    parts = parts_of(request)
    if parts.oidc is None:
        return message(request, "Not found", "There is no page here.", 404, back="/login")
    given = request.cookies.get(cookie_name(request, "state"), "")
    is_ours = bool(state) and hmac.compare_digest(given.encode(errors="replace"), state.encode(errors="replace"))
    with parts.pool.use() as database:
        login = database.review_sessions.take_oidc(state) if is_ours else None
    if login is None:
        return _refused(request, "this sign-in was begun elsewhere, or too long ago: begin again")
    if error or not code:
        return _refused(request, f"the provider did not sign you in ({one_line(error, 100) or 'no code'})")
    try:
        person = parts.oidc.finish(code, login)
        with parts.pool.use() as database:
            account = database.review_accounts.of_subject(person.subject, person.name, person.role)
            if account.is_disabled:
                return _refused(request, f"the account {account.name} is disabled")
            response = _signed_in(request, database, account, "oidc")
    except SnifferError as problem:
        return _refused(request, str(problem))
    drop_cookie(request, response, "state")
    return response


def _refused(request: Request, why: str) -> Response:
    with parts_of(request).pool.use() as database:
        database.review_log.add("", "login_failed", "oidc", why=why[:300], address=_address(request))
    response = message(request, "Not signed in", f"{why[:1].upper()}{why[1:]}.", 403, back="/login")
    drop_cookie(request, response, "state")
    return response


def _signed_in(request: Request, database: Database, account: ReviewAccount, how: str) -> Response:
    """A new session, whatever cookie the browser had: one that was planted there is worth nothing."""
    token = new_token()
    if before := token_of(request):
        database.review_sessions.end(before)
    database.review_sessions.open(token, account.name, new_token())
    database.review_log.add(account.name, "login", how=how, address=_address(request))
    response = RedirectResponse("/review" if account.role.decides else "/figures", 303)
    set_cookie(request, response, token)
    return response


def _attempt_keys(name: str, address: str) -> dict[str, int]:
    return {
        f"both\0{name}\0{address}": _OF_NAME_AND_ADDRESS,
        f"address\0{address}": _OF_ADDRESS,
        f"name\0{name}": _OF_NAME,
    }


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
