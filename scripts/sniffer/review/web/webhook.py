"""Decisions of other programs, as signed messages: no session, no form, and nothing told to whoever cannot sign."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from sniffer.core.errors import SettingsError, TransientError
from sniffer.core.review_records import ImportedDecision, ImportReport
from sniffer.review.imports import decisions_of_coop, decisions_of_webhook
from sniffer.review.signatures import ForgedMessage, VerifiedMessage, verify, verify_coop
from sniffer.review.web.parts import parts_of
from sniffer.review.web.shield import COOP_WEBHOOK, MOST_BODY_BYTES, WEBHOOK

log = logging.getLogger(__name__)

_FORGED_LOGGED = 30
_FORGED_WINDOW_S = 900.0
"""So many entries of the chained log within that time are about forged messages from one address: each costs a row."""

router = APIRouter()


@router.post(WEBHOOK)
async def take_ours(request: Request) -> Response:
    """Messages that are signed with our shared secret."""
    settings, header = parts_of(request).settings, request.headers.get("x-sniffer-signature", "")
    now = parts_of(request).clock().timestamp()
    return await _take(
        request,
        bool(settings.webhook_secret),
        lambda body: verify(body, header, settings.webhook_secret, now),
        decisions_of_webhook,
    )


@router.post(COOP_WEBHOOK)
async def take_coops(request: Request) -> Response:
    """Callbacks of Coop's actions."""
    settings, header = parts_of(request).settings, request.headers.get("coop-signature", "")
    return await _take(
        request, bool(settings.coop_key), lambda body: verify_coop(body, header, settings.coop_key), decisions_of_coop
    )


async def _take(
    request: Request,
    is_on: bool,
    check: Callable[[bytes], VerifiedMessage],
    read: Callable[[bytes], Sequence[ImportedDecision]],
) -> Response:
    if not is_on:
        return PlainTextResponse("there is no page here\n", 404)
    body = bytearray()
    # The shield has seen what the sender says about its length; this is what comes.
    async for part in request.stream():
        body += part
        if len(body) > MOST_BODY_BYTES:
            log.warning("%s: refused a message of %s: above 1 MiB", request.url.path, _address(request))
            return PlainTextResponse("a body above 1 MiB\n", 413)
    return await run_in_threadpool(_answer, request, bytes(body), check, read)


def _answer(
    request: Request,
    body: bytes,
    check: Callable[[bytes], VerifiedMessage],
    read: Callable[[bytes], Sequence[ImportedDecision]],
) -> Response:
    """Nothing of a body gets into a log: notes and names are people's."""
    try:
        message = check(body)
    except ForgedMessage as error:
        return _forged(request, str(error))
    path, address = request.url.path, _address(request)
    try:
        decisions = read(body)
        report = _stored(request, decisions, message)
    except SettingsError as error:
        log.warning("%s: refused a signed message of %s, %d bytes: its decisions are wrong", path, address, len(body))
        return JSONResponse({"error": str(error)}, 400)
    except TransientError as error:
        log.warning("%s: could not store a message of %s: %s", path, address, error)
        return JSONResponse({"error": "the database does not answer; nothing may be stored: send it again"}, 503)
    if report.refused:
        log.warning(
            "%s: of %d decisions of %s, %d are not stored; the answer says which",
            path,
            len(decisions),
            address,
            len(report.refused),
        )
    return JSONResponse(asdict(report))


def _stored(request: Request, decisions: Sequence[ImportedDecision], message: VerifiedMessage) -> ImportReport:
    parts = parts_of(request)
    with parts.pool.use() as database:
        report = database.review_decisions.add_imported(
            decisions, submit_key=message.submit_key, sent_at=message.sent_at, second=parts.settings.second
        )
        if report.added or report.refused:
            database.review_log.add(
                "",
                "webhook",
                request.url.path,
                added=report.added,
                unchanged=report.unchanged,
                refused=len(report.refused),
                address=_address(request),
            )
    return report


def _forged(request: Request, why: str) -> Response:
    """All that the sender learns is that it is none of ours."""
    path, address = request.url.path, _address(request)
    log.warning("%s: refused a message of %s: %s", path, address, why)
    with parts_of(request).pool.use() as database:
        if database.review_sessions.count_attempt({f"webhook\0{address}": _FORGED_LOGGED}, _FORGED_WINDOW_S):
            database.review_log.add("", "webhook_refused", path, why=why, address=address)
    return PlainTextResponse("not signed as it must be\n", 401)


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
