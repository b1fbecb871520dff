"""The figures: what waits, who has decided how much on which day, how far reviewers agree, and measured recall."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from sniffer.core.recall_words import share_in_words
from sniffer.core.review_accounts import ReviewSession
from sniffer.review.web.parts import parts_of
from sniffer.review.web.rendering import page
from sniffer.review.web.reviewing import REASON_WORDS
from sniffer.review.web.visitors import visitor

router = APIRouter()

DAYS = 14
RECALL_DAYS = 35
"""As far back as the gate looks."""
_MOST_RECALL = 200


@router.get("/figures")
def figures(request: Request, session: Annotated[ReviewSession, Depends(visitor)]) -> Response:
    """Of the last two weeks: a reviewer's own days; of leads and auditors everybody's."""
    now = parts_of(request).clock()
    since = datetime.combine(now.date() - timedelta(days=DAYS - 1), time(), UTC)
    until = now + timedelta(days=1)
    with parts_of(request).pool.use() as database:
        rows = database.review_decisions.figures(since, until)
        agreement = database.review_decisions.agreement(since, until)
        backlog = database.review_queue.backlog()
        recall = database.recall.since(now.date() - timedelta(days=RECALL_DAYS), _MOST_RECALL)
        for_leads = database.review_queue.backlog(for_lead=True)
    if not session.role.audits:
        rows = [row for row in rows if row.reviewer == session.name]
    return page(
        request,
        "figures.html",
        session,
        rows=sorted(rows, key=lambda row: (row.day, row.reviewer), reverse=True),
        agreement=agreement,
        backlog=backlog,
        for_leads=for_leads,
        days=DAYS,
        recall=recall,
        recall_days=RECALL_DAYS,
        kinds={str(reason): word for reason, word in REASON_WORDS.items()},
        share=share_in_words,
        break_after=parts_of(request).settings.break_after,
    )
