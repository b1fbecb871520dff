"""The figures: what waits, who has decided how much on which day, how far reviewers agree, measured recall,
and drift."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from sniffer.core.recall_records import DRIFT_DAYS, DriftTest
from sniffer.core.recall_words import FLAGGED_SHARE, SCORES, share_in_words
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
        drift = database.drift.newest(now.date() - timedelta(days=DRIFT_DAYS))
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
        drift=_by_bucket(drift),
        drift_days=DRIFT_DAYS,
        share=share_in_words,
        break_after=parts_of(request).settings.break_after,
    )


@dataclass(frozen=True, slots=True)
class BucketDrift:
    """A bucket's newest night against those before it, by both tests."""

    flagged_share: DriftTest
    scores: DriftTest

    @property
    def verdict(self) -> str:
        """In a word or two, for a person."""
        unlike = [one.kind for one in (self.flagged_share, self.scores) if one.is_alarm]
        if unlike:
            return f"unlike the past: {' and '.join(unlike)}"
        return "as usual" if self.flagged_share.p_value is not None else "too few nights to compare with"


def _by_bucket(tests: Sequence[DriftTest]) -> list[BucketDrift]:
    """Those that somebody should look at first."""
    found: dict[str, dict[str, DriftTest]] = defaultdict(dict)
    for one in tests:
        found[one.bucket][one.kind] = one
    # Both are stored together.
    pairs = [BucketDrift(kinds[FLAGGED_SHARE], kinds[SCORES]) for kinds in found.values()]
    return sorted(pairs, key=lambda each: not (each.flagged_share.is_alarm or each.scores.is_alarm))
