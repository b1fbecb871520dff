"""Which label bytes get that several decisions are about, under whatever keys. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sniffer.core.review_records import (
    LABEL_OF,
    EnteredBy,
    LiveDecision,
    LiveDecisionT,
    ReviewDecision,
    counting_decision,
)


@dataclass(frozen=True, slots=True)
class DecidedBytes:
    """What was decided about the same bytes: the decision that counts, None while there is none.

    `is_conflict`: some images of them were decided one way and some the other, and a lead has settled none.
    """

    counting: LiveDecision | None
    is_conflict: bool = False

    @property
    def is_settled(self) -> bool:
        """Whether a lead has spoken: then also for images that reviewers disagree on."""
        return self.counting is not None and self.counting.entered_by is EnteredBy.APPEAL


def about_newest_bytes(live: Sequence[LiveDecisionT]) -> list[LiveDecisionT]:
    """Of an image whose bytes have changed under its identity: what was decided about those that came last."""
    if not live:
        return []
    newest = max(live, key=lambda row: row.number).content_hash
    return [row for row in live if newest is None or row.content_hash in (None, newest)]


def counting_label(live: Sequence[LiveDecisionT]) -> LiveDecisionT | None:
    """The decision of one image that counts, if it is a label; `unsure` and disagreement are none."""
    found = counting_decision(live)
    return found if found is not None and found.decision in LABEL_OF else None


def decided_bytes(counting: Iterable[LiveDecision]) -> DecidedBytes:
    """The rule, by what counts of each image that has these bytes: read once, in any order, and not kept.

    The newest of a lead's decisions, about whichever of them; else what all say, by the newest.
    """
    appeal: LiveDecision | None = None
    newest: LiveDecision | None = None
    said: set[ReviewDecision] = set()
    for each in counting:
        said.add(each.decision)
        if newest is None or each.number > newest.number:
            newest = each
        if each.entered_by is EnteredBy.APPEAL and (appeal is None or each.number > appeal.number):
            appeal = each
    if appeal is not None:
        return DecidedBytes(appeal)
    return DecidedBytes(None, is_conflict=True) if len(said) > 1 else DecidedBytes(newest)
