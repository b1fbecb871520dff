"""The leads' and auditors' pages: held scans, any image's past and appeals about it, and the log."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sniffer.adapters.mysql.review.audit_log import details_of
from sniffer.core.errors import DecisionRefused, SettingsError, SnifferError
from sniffer.core.flag_records import Deciding
from sniffer.core.review_accounts import ReviewSession
from sniffer.core.review_records import NOTE_CHARS, EnteredBy, NewDecision, Reason, ReviewDecision
from sniffer.review.web.images import ImageId
from sniffer.review.web.parts import parts_of
from sniffer.review.web.pictures import WhyNot
from sniffer.review.web.rendering import message, page
from sniffer.review.web.reviewing import DECISION_WORDS, REASON_WORDS
from sniffer.review.web.visitors import auditing_visitor, check_form, leading_visitor

router = APIRouter()

Lead = Annotated[ReviewSession, Depends(leading_visitor)]
Auditor = Annotated[ReviewSession, Depends(auditing_visitor)]

_BATCH_ROWS = 1000
_PAGE = 100
_NOTICES = {
    "released": "Released: what the scan flagged comes into the queue within a minute.",
    "unfinished": "Released. It had stopped early: run it again with the same id to do what is left.",
    "discarded": "Discarded: run the scan again with the same id to score these images again.",
    "appealed": "Settled.",
}


@router.get("/held")
def held(request: Request, session: Auditor, notice: str = "") -> Response:
    """The scans that are held."""
    with parts_of(request).pool.use() as database:
        scans = database.holds.all()
    return page(request, "held.html", session, scans=scans, notice=_NOTICES.get(notice, ""))


@router.post("/held/decide")
def decide_held(
    request: Request,
    session: Lead,
    csrf: Annotated[str, Form()],
    scan_id: Annotated[str, Form()],
    decision: Annotated[str, Form()],
    reason: Annotated[str, Form()] = "",
) -> Response:
    """Release or discard one, as `sniffer release` and `sniffer discard` do, in this person's name."""
    check_form(session, csrf)
    if decision not in ("release", "discard"):
        raise SettingsError("a held scan is released or discarded")
    with parts_of(request).pool.use() as database:
        try:
            asked = Deciding(scan_id, session.name, reason)
            if decision == "release":
                decided = database.holds.release(asked)
            else:
                decided = database.holds.discard(asked, batch_rows=_BATCH_ROWS)
        except SnifferError as error:
            return message(request, "Not done", str(error), 409, session, back="/held")
        database.review_log.add(session.name, f"{decision}_scan", scan_id, reason=reason[:300])
    if decision == "discard":
        return RedirectResponse("/held?notice=discarded", 303)
    return RedirectResponse(f"/held?notice={'released' if decided.is_finished else 'unfinished'}", 303)


@router.get("/log")
def show_log(request: Request, session: Auditor, before: int | None = None) -> Response:
    """The log, newest first."""
    with parts_of(request).pool.use() as database:
        entries = database.review_log.latest(_PAGE, before)
        head = database.review_log.head()
    rows = [(entry, ", ".join(f"{name}: {value}" for name, value in details_of(entry).items())) for entry in entries]
    oldest = entries[-1].number if entries and entries[-1].number > 1 else None
    return page(request, "log.html", session, rows=rows, head=str(head) if head else "missing", before=oldest)


@router.get("/decisions")
def decisions(request: Request, session: Auditor, before: int | None = None) -> Response:
    """All decisions, newest first."""
    with parts_of(request).pool.use() as database:
        rows = database.review_decisions.latest(_PAGE, before=before)
    return page(
        request,
        "decisions.html",
        session,
        rows=rows,
        words=DECISION_WORDS,
        reasons=REASON_WORDS,
        before=rows[-1].row.number if len(rows) == _PAGE else None,
    )


@router.get("/image/{image_id}")
def image(request: Request, image_id: ImageId, session: Auditor, notice: str = "") -> Response:
    """One image with all that was decided about it."""
    with parts_of(request).pool.use() as database:
        found = database.review_images.get(image_id)
        rows = database.review_decisions.of_image(image_id)
    if found is None:
        return message(request, "Not found", "There is no such image.", 404, session, back="/decisions")
    return page(
        request,
        "image.html",
        session,
        image=found,
        rows=rows,
        words=DECISION_WORDS,
        reasons=REASON_WORDS,
        notice=_NOTICES.get(notice, ""),
        submit_key=secrets.token_hex(16),
        note_chars=NOTE_CHARS,
    )


@router.post("/image/{image_id}/appeal")
def appeal(
    request: Request,
    image_id: ImageId,
    session: Lead,
    csrf: Annotated[str, Form()],
    decision: Annotated[str, Form()],
    submit_key: Annotated[str, Form()],
    reason: Annotated[str, Form()] = "",
    note: Annotated[str, Form()] = "",
) -> Response:
    """A lead's word on an image, whoever has decided what before: it counts, and reaches the next labels."""
    check_form(session, csrf)
    if decision not in (ReviewDecision.DRUG, ReviewDecision.NOT_DRUG):
        raise SettingsError("an appeal decides drug or not_drug")
    is_drug = decision == ReviewDecision.DRUG
    if is_drug and reason not in set(Reason):
        raise SettingsError("choose a reason: without one a drug image cannot be saved")
    parts = parts_of(request)
    changed = parts.changed([image_id])
    parts.keep([image_id])
    with parts.pool.use() as database:
        seen = database.review_looks.seen_by(session.name, [image_id])
        # An ordinary decision of hers stays one: put in its place, her word would settle nothing.
        own = [
            row
            for row in database.review_decisions.of_image(image_id)
            if row.is_live and row.reviewer == session.name and row.entered_by is EnteredBy.APPEAL
        ]
        new = NewDecision(
            image_id,
            ReviewDecision(decision),
            Reason(reason) if is_drug else None,
            note.replace("\r\n", "\n").strip(),
            replaces=own[-1].number if own else None,
            was_unblurred=bool(seen),
            is_appeal=not own,
            was_replaced=changed.get(image_id) is WhyNot.REPLACED,
        )
        try:
            database.review_decisions.add(
                [new], reviewer=session.name, submit_key=submit_key, second=parts.settings.second, is_lead=True
            )
        except DecisionRefused as error:
            return message(request, "Not saved", f"Nothing was saved: {error}.", 409, session, f"/image/{image_id}")
        database.review_log.add(session.name, "appeal", str(image_id), decision=decision)
    return RedirectResponse(f"/image/{image_id}?notice=appealed", 303)
