"""The page on which images are decided: one image, or a batch of near-duplicates, at a time."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Header
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import DecisionRefused, SettingsError
from sniffer.core.review_accounts import ReviewSession
from sniffer.core.review_records import (
    NOTE_CHARS,
    DecidedImage,
    NewDecision,
    Reason,
    ReviewDecision,
)
from sniffer.review.web.asking import address, after_text, asked_by, filters_of, parse_after
from sniffer.review.web.choosing import QueueAsked, next_batch
from sniffer.review.web.parts import parts_of
from sniffer.review.web.pictures import WhyNot
from sniffer.review.web.rendering import message, page
from sniffer.review.web.visitors import NotAllowed, check_form, deciding_visitor

router = APIRouter()

Reviewer = Annotated[ReviewSession, Depends(deciding_visitor)]
Images = Annotated[list[int], Form()]
Csrf = Annotated[str, Form()]

_EXPOSURE_WINDOW = timedelta(hours=1)
_LATEST = 50
_MOST_SKIPPED = 48
"""Numbers of images in an address. Who skips more look-alikes may meet some again before the queue begins again."""

NOTICES = {
    "saved": "Saved.",
    "old": "Saved, as a decision about an old version: the object was replaced meanwhile.",
    "gone": "Saved. The object was deleted meanwhile.",
    "undone": "Taken back. It is before you again.",
    "nothing": "There is nothing of yours to take back.",
    "corrected": "Corrected.",
}
REASON_WORDS = {
    Reason.RECREATIONAL_DRUG: "Recreational drug",
    Reason.CANNABIS: "Cannabis",
    Reason.PRESCRIPTION_MEDICINE: "Prescription medicine",
    Reason.PARAPHERNALIA: "Paraphernalia",
    Reason.ADVERTISEMENT_TEXT: "Advertisement text",
    Reason.OTHER: "Other",
}
DECISION_WORDS = {
    ReviewDecision.DRUG: "Drug",
    ReviewDecision.NOT_DRUG: "Not drug",
    ReviewDecision.UNSURE: "Unsure",
    ReviewDecision.WITHDRAWN: "Taken back",
}


@router.get("/review")
def review(request: Request, session: Reviewer, notice: str = "") -> Response:
    """What is next for this reviewer. It is taken by being shown, so that nobody else gets it meanwhile."""
    parts = parts_of(request)
    asked = _asked(request, session)
    with parts.pool.use() as database:
        batch = next_batch(database, asked, session.name, parts.settings.lease_s)
        if batch is None and asked.after is not None:
            # Behind what was skipped there is no more: begin again with that.
            return RedirectResponse(address("/review", filters_of(request), notice=notice), 303)
        earlier: list[DecidedImage] = []
        if batch is not None and asked.for_lead:
            earlier = database.review_decisions.about_same_bytes(batch.items[0].image_id, _LATEST)
        backlog = database.review_queue.backlog(asked.filter, for_lead=asked.for_lead)
        seen = database.review_looks.images_since(session.name, parts.clock() - _EXPOSURE_WINDOW)
    return page(
        request,
        "review.html",
        session,
        batch=batch,
        earlier=earlier,
        backlog=backlog,
        exposures=seen,
        needs_break=seen >= parts.settings.break_after,
        notice=NOTICES.get(notice, ""),
        filters=filters_of(request),
        asked=asked,
        here=lambda path, **more: address(path, filters_of(request), asked.after, asked.skipped, **more),
        next_after="" if batch is None or batch.next_after is None else after_text(batch.next_after),
        submit_key=secrets.token_hex(16),
        lease_s=parts.settings.lease_s,
        reasons=REASON_WORDS,
        words=DECISION_WORDS,
        note_chars=NOTE_CHARS,
    )


@router.post("/review/decide")
def decide(
    request: Request,
    session: Reviewer,
    decision: Annotated[str, Form()],
    submit_key: Annotated[str, Form()],
    csrf: Csrf,
    images: Images,
    left_out: Annotated[list[int] | None, Form()] = None,
    reason: Annotated[str, Form()] = "",
    note: Annotated[str, Form()] = "",
) -> Response:
    """Store the decision of all images of the batch but those left out, which come next, each alone.

    The answer comes after the commit: what is shown as saved stays saved.
    """
    check_form(session, csrf)
    asked = _asked(request, session)
    parts = parts_of(request)
    chosen = [image_id for image_id in dict.fromkeys(images) if image_id not in set(left_out or ())]
    if not chosen:
        return RedirectResponse(address("/review", filters_of(request), asked.after, asked.skipped, alone="1"), 303)
    said = _decision(decision)
    changed = parts.changed(chosen)
    parts.keep(chosen)
    batch = secrets.token_hex(16) if len(chosen) > 1 else ""
    with parts.pool.use() as database:
        seen = database.review_looks.seen_by(session.name, chosen)
        try:
            new = [
                NewDecision(
                    image_id,
                    said,
                    _reason(reason) if said is ReviewDecision.DRUG else None,
                    note.replace("\r\n", "\n").strip(),
                    batch,
                    was_unblurred=image_id in seen,
                    was_replaced=changed.get(image_id) is WhyNot.REPLACED,
                )
                for image_id in chosen
            ]
            database.review_decisions.add(
                new,
                reviewer=session.name,
                submit_key=submit_key,
                second=parts.settings.second,
                is_lead=session.role.leads,
            )
        except DecisionRefused as error:
            return message(request, "Not saved", f"Nothing was saved: {error}.", 409, session)
        if asked.for_lead:
            database.review_log.add(session.name, "settled", str(chosen[0]), decision=str(said))
    notice = "old" if WhyNot.REPLACED in changed.values() else "gone" if changed else "saved"
    more = {"notice": notice} | ({"alone": "1"} if left_out else {})
    return RedirectResponse(address("/review", filters_of(request), asked.after, asked.skipped, **more), 303)


@router.post("/review/skip")
def skip(
    request: Request, session: Reviewer, csrf: Csrf, images: Images, next_after: Annotated[str, Form()] = ""
) -> Response:
    """Give the images back, and go on behind them."""
    check_form(session, csrf)
    with parts_of(request).pool.use() as database:
        database.review_leases.give_back(images, session.name)
    # Those that look like the first may stand anywhere behind it: they come again when the queue begins again.
    after, skipped = parse_after(next_after), dict.fromkeys((*images[1:], *_asked(request, session).skipped))
    kept = () if after is None else (*skipped,)[:_MOST_SKIPPED]
    return RedirectResponse(address("/review", filters_of(request), after, kept), 303)


@router.post("/review/renew")
def renew(request: Request, session: Reviewer, images: Images, x_csrf: Annotated[str, Header()] = "") -> JSONResponse:
    """The page is still open: which of its images are still this reviewer's."""
    check_form(session, x_csrf)
    parts = parts_of(request)
    with parts.pool.use() as database:
        held = database.review_leases.renew(images, session.name, parts.settings.lease_s)
    return JSONResponse({"held": sorted(held)})


@router.post("/review/undo")
def undo(request: Request, session: Reviewer, csrf: Csrf, submit_key: Annotated[str, Form()]) -> Response:
    """Take back this reviewer's last decision, of the whole batch, and open it again."""
    check_form(session, csrf)
    parts = parts_of(request)
    with parts.pool.use() as database:
        last = _last_of(database.review_decisions.latest(_LATEST, reviewer=session.name))
        if not last:
            return RedirectResponse(address("/review", filters_of(request), notice="nothing"), 303)
        _take_back(database, last, session, submit_key, request)
        ids = [one.row.image_id for one in last]
        held = [item.image_id for item in database.review_leases.held(session.name)]
        database.review_leases.give_back(held, session.name)
        database.review_leases.take(ids, session.name, parts.settings.lease_s)
    return RedirectResponse(address("/review", filters_of(request), notice="undone"), 303)


@router.get("/decided")
def decided(request: Request, session: Reviewer, before: int | None = None, notice: str = "") -> Response:
    """What this reviewer has decided, newest first, each to be corrected."""
    with parts_of(request).pool.use() as database:
        rows = database.review_decisions.latest(_LATEST, reviewer=session.name, before=before)
    return page(
        request,
        "decided.html",
        session,
        rows=rows,
        words=DECISION_WORDS,
        reasons=REASON_WORDS,
        notice=NOTICES.get(notice, ""),
        before=rows[-1].row.number if len(rows) == _LATEST else None,
        submit_key=secrets.token_hex(12),
    )


@router.post("/decided/correct")
def correct(
    request: Request,
    session: Reviewer,
    csrf: Csrf,
    number: Annotated[int, Form()],
    image: Annotated[int, Form()],
    decision: Annotated[str, Form()],
    submit_key: Annotated[str, Form()],
    reason: Annotated[str, Form()] = "",
) -> Response:
    """Put another decision in the place of one of this reviewer's own."""
    check_form(session, csrf)
    said = _decision(decision) if decision != ReviewDecision.WITHDRAWN else ReviewDecision.WITHDRAWN
    parts = parts_of(request)
    changed = parts.changed([image])
    parts.keep([image])
    with parts.pool.use() as database:
        new = NewDecision(
            image,
            said,
            _reason(reason) if said is ReviewDecision.DRUG else None,
            replaces=number,
            was_replaced=changed.get(image) is WhyNot.REPLACED,
        )
        try:
            database.review_decisions.add(
                [new],
                reviewer=session.name,
                submit_key=submit_key,
                second=parts.settings.second,
                is_lead=session.role.leads,
            )
        except DecisionRefused as error:
            return message(request, "Not saved", f"Nothing was saved: {error}.", 409, session, back="/decided")
        database.review_log.add(session.name, "corrected", str(image), decision=str(said), replaces=number)
    return RedirectResponse("/decided?notice=corrected", 303)


def _asked(request: Request, session: ReviewSession) -> QueueAsked:
    asked = asked_by(request)
    if asked.for_lead and not session.role.leads:
        raise NotAllowed("this is for leads")
    return asked


def _decision(text: str) -> ReviewDecision:
    if text not in (ReviewDecision.DRUG, ReviewDecision.NOT_DRUG, ReviewDecision.UNSURE):
        raise SettingsError("a decision is drug, not_drug or unsure")
    return ReviewDecision(text)


def _reason(text: str) -> Reason:
    if text not in set(Reason):
        raise SettingsError("choose a reason: without one a drug image cannot be saved")
    return Reason(text)


def _last_of(decided: list[DecidedImage]) -> list[DecidedImage]:
    """The newest decision that still counts, with what was decided together with it."""
    live = [one for one in decided if one.row.is_live and one.row.decision is not ReviewDecision.WITHDRAWN]
    if not live:
        return []
    last = live[0].row
    return [one for one in live if one.row.number == last.number or (last.batch and one.row.batch == last.batch)]


def _take_back(
    database: Database, last: list[DecidedImage], session: ReviewSession, submit_key: str, request: Request
) -> None:
    withdrawn = [
        NewDecision(one.row.image_id, ReviewDecision.WITHDRAWN, replaces=one.row.number, batch=one.row.batch)
        for one in last
    ]
    database.review_decisions.add(
        withdrawn,
        reviewer=session.name,
        submit_key=submit_key,
        second=parts_of(request).settings.second,
        is_lead=session.role.leads,
    )
    database.review_log.add(session.name, "undone", str(last[0].row.image_id), images=len(last))
