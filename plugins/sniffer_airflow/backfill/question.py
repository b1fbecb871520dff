"""Whether a person must approve a backfill, and what that person reads: the estimate, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sniffer.core.estimate_records import BackfillEstimate, Span
from sniffer.core.estimate_words import figures
from sniffer.core.text import code_span, markdown_text
from sniffer_airflow.backfill.form import ApprovalLimits
from sniffer_airflow.executors.hours import WorkingHours
from sniffer_airflow.names import COST_APPROVAL_LIMIT


def reasons_to_ask(estimate: BackfillEstimate, limits: ApprovalLimits) -> list[str]:
    """Why a person must approve it, in words; none when it keeps to the limits. What is unknown is above any limit."""
    if limits == ApprovalLimits():
        return ["the form has no limits, so that a person approves every run"]
    found = []
    if limits.images is not None and estimate.new > limits.images:
        found.append(f"{estimate.new:,} new images are above {limits.images:,}")
    return found + _above(estimate.hours, estimate.cost, limits)


def reasons_of_team(estimate: BackfillEstimate, limits: ApprovalLimits) -> list[str]:
    """Why a person must approve it whatever the form says, in words; none when it keeps to the team's limits.

    They hold for all that may be scanned under the approval: the new images and those by which the bucket may grow,
    since whoever fills in the form chooses that share too. What is unknown is above any limit.
    """
    most = estimate.new + estimate.room
    found = []
    if limits.images is not None and most > limits.images:
        found.append(f"{estimate.new:,} new images and a growth of {estimate.room:,} are above {limits.images:,}")
    found += _above(_grown(estimate.hours, estimate), _grown(estimate.cost, estimate), limits)
    return [f"{reason}, the team's limit" for reason in found]


def _grown(span: Span | None, estimate: BackfillEstimate) -> Span | None:
    """The same for the images of the growth too, each like one of the new ones; None where there is none to go by."""
    if span is None or not estimate.room:
        return span
    return span.times(1 + estimate.room / estimate.new) if estimate.new else None


def _above(hours: Span | None, cost: Span | None, limits: ApprovalLimits) -> list[str]:
    found = []
    if limits.hours is not None:
        if hours is None:
            found.append("the hours are unknown")
        elif hours.most > limits.hours:
            found.append(f"up to {hours.most:,.1f} hours are above {limits.hours:,g}")
    if limits.cost is not None:
        if cost is None:
            found.append("the cost is unknown")
        elif cost.most > limits.cost:
            found.append(f"up to {cost.most:,.2f} is above {limits.cost:,g}")
    return found


def nights(estimate: BackfillEstimate, hours: str) -> str:
    """How many nights of these hours it takes; empty without hours, or a pace."""
    if not hours or estimate.hours is None:
        return ""
    length_h = WorkingHours.parse(hours).length.total_seconds() / 3600
    least, most = (math.ceil(end / length_h) for end in (estimate.hours.least, estimate.hours.most))
    return f"{least} to {most}, of {length_h:g} hours each ({hours})"


def question(estimate: BackfillEstimate, hours: str, reasons: Sequence[str], cannot_approve: str | None) -> str:
    """The body of the approval."""
    place = f"s3://{estimate.bucket}/{estimate.prefix}"
    lines = [
        f"All of {code_span(place)} would be scanned by model version {estimate.model_version}.",
        "",
        f"* **Why you are asked:** {'; '.join(reasons)}",
        f"* **Approve** starts the shards. **Reject** ends the run; nothing was scanned. No answer within "
        f"{COST_APPROVAL_LIMIT.days} days counts as *Reject*.",
        f"* **What you approve** has the digest {code_span(estimate.digest[:16])}, and holds up to "
        f"{estimate.most_listed:,} objects: with more the run stops.",
    ]
    if cannot_approve:
        lines.append(f"* **Who may approve:** anybody but {markdown_text(cannot_approve)}, who has started the run.")
    lines += ["", "| | |", "|---|---|"]
    shown = [*figures(estimate), *([("nights", nights(estimate, hours))] if nights(estimate, hours) else [])]
    lines += [f"| {name} | {markdown_text(text)} |" for name, text in shown]
    lines += [
        "",
        "Counts are exact for the time of the listing. What has a span is estimated: hours by an earlier scan, cost by "
        "hours and prices. docs/scale.md, *Backfill a whole bucket*, says by what.",
    ]
    return "\n".join(lines)
