"""Whether a person must approve a backfill, and what that person reads: the estimate, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sniffer.core.estimate_records import BackfillEstimate
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
    for name, limit, span in (("hours", limits.hours, estimate.hours), ("cost", limits.cost, estimate.cost)):
        if limit is None:
            continue
        if span is None:
            found.append(f"the {name} are unknown" if name == "hours" else f"the {name} is unknown")
        elif span.most > limit:
            what = f"up to {span.most:,.1f} hours are" if name == "hours" else f"up to {span.most:,.2f} is"
            found.append(f"{what} above {limit:,g}")
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
