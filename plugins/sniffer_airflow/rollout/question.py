"""What people read before a version becomes stable, as Markdown: the figures of `verify`, and the approval's text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, urlencode

from sniffer.core.changed_images import ChangedImages
from sniffer.core.rollout_records import Flip, GoldenDifferences, LatencyComparison, ShadowReport, VerifyReport
from sniffer.core.text import code_span, markdown_text
from sniffer_airflow.forms.fields import literally
from sniffer_airflow.names import (
    CHANGED_IMAGES,
    CHANGES_PICTURE,
    NOT_KEPT,
    RETRAIN_DAG,
    page_path,
    report_label,
    report_url,
)

AUTOMATIC_RUN = "asset_triggered"
"""The type of a run that an event of an Asset has started."""


@dataclass(frozen=True)
class Asked:
    """Who wants the rollout, until when it may be answered and by whom, and what the gate said of the version.

    `cannot_approve` are those whose approval does not count.
    """

    requester: str
    deadline: datetime
    cannot_approve: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    overridden_by: str | None = None
    override_reason: str | None = None


def requester(user: str | None, run_type: str) -> str:
    """Who wants the rollout, in words."""
    if user:
        return user
    return "nobody, an export started this run" if run_type == AUTOMATIC_RUN else f"unknown ({run_type} run)"


def question(found: VerifyReport, asked: Asked, changed: ChangedImages | None = None) -> str:
    """The body of the approval. Airflow keeps it, so of `changed` it has counts and an address, and no picture."""
    label = report_label(found.version, warnings=len(asked.warnings), is_overridden=bool(asked.overridden_by))
    lines = [
        f"* **Report:** [{label}]({report_url(found.version)})",
        f"* **Requested by:** {markdown_text(asked.requester)}",
        *_four_eyes(asked),
        f"* **Answer by:** {asked.deadline:%A, %d %B %Y, %H:%M} UTC. No answer counts as *Reject*.",
        f"* **Approve** makes version {found.version} stable. **Reject** puts the model servers back as they were.",
        "",
        *_gate(asked),
        *_picture(found.shadow),
        *_changed_images(found, changed),
        summary(found),
    ]
    return "\n".join(lines)


def _four_eyes(asked: Asked) -> Iterator[str]:
    if asked.cannot_approve:
        names = " and ".join(markdown_text(name) for name in dict.fromkeys(asked.cannot_approve))
        yield (
            f"* **Who may approve:** anybody but {names}, whose approval does not count: it asks again. "
            "Everybody may reject."
        )


def _gate(asked: Asked) -> Iterator[str]:
    """What the gate found, before all figures: a verdict with warnings looks like any other elsewhere."""
    if asked.overridden_by:
        reason = markdown_text(asked.override_reason or "none given")
        yield f"**The gate rejected this version; {markdown_text(asked.overridden_by)} accepted it:** {reason}"
        yield ""
    if asked.warnings:
        yield "#### Warnings of the gate"
        yield ""
        yield from (f"* {markdown_text(warning)}" for warning in asked.warnings)
        yield ""


def summary(found: VerifyReport) -> str:
    """What `verify` found: what changes first, then whether the version is served right and fast enough."""
    return "\n".join([*_what_changes(found), "", "#### Checks on the model servers", "", *_checks(found)])


def _what_changes(found: VerifyReport) -> Iterator[str]:
    yield f"#### What changes with version {found.version}"
    yield ""
    if found.stable is None:
        note = found.note or "there is no stable version yet"
        yield f"{literally(note[0].upper() + note[1:])}, so nothing can be compared. Only golden examples were checked."
    elif found.shadow is None:
        yield (
            f"Compared with the stable version {found.stable}: decisions were **not compared**, because no image has "
            "been scanned yet or the comparison was switched off."
        )
    else:
        yield from _decisions(found.shadow, found.version, found.stable)


def _decisions(found: ShadowReport, version: int, stable: int) -> Iterator[str]:
    gone = ", ".join(f"{count} {code_span(reason)}" for reason, count in found.left_out.items())
    yield f"On the newest {found.compared} scanned images{f' (left out: {gone})' if gone else ''}:"
    yield ""
    yield f"| | stable version {stable} | version {version} |"
    yield "|---|---|---|"
    yield f"| images flagged | {found.flagged_by_stable} | {found.flagged_by_candidate} |"
    yield ""
    yield f"* Different decision on **{found.flip_share:.1%}** of the images."
    if found.flag_change_per_night is not None:
        yield f"* **{found.flag_change_per_night:+,.0f}** flagged images per night, at the present number of images."
    if not found.flips:
        yield "* No image is decided differently."
        return
    yield ""
    yield "Images with the largest change in score:"
    yield ""
    yield from (_flip(flip) for flip in found.flips)


def picture_path(found: ShadowReport) -> str:
    """Where the picture of these changes is: its figures are in the address, so that it needs no other source."""
    flips = ",".join(
        f"{flip.stable_score:.3f}-{flip.candidate_score:.3f}-{int(flip.flagged_now)}" for flip in found.flips
    )
    figures = {"compared": found.compared, "stable": found.flagged_by_stable, "candidate": found.flagged_by_candidate}
    return f"{page_path(CHANGES_PICTURE)}?{urlencode(figures)}&flips={quote(flips, safe=',-.')}"


def _picture(found: ShadowReport | None) -> list[str]:
    if found is None or not found.flips:
        return []
    return [f"![{_picture_in_words(found)}]({picture_path(found)})", ""]


def _changed_images(found: VerifyReport, changed: ChangedImages | None) -> Iterator[str]:
    if changed is None and found.stable is None:
        return
    yield "#### Test images that are decided differently"
    yield ""
    if changed is None:
        yield f"Not shown: {NOT_KEPT}"
        yield ""
        return
    if not changed.count:
        yield f"No test image changes its verdict: both versions decide alike on all {changed.compared}."
    else:
        yield (
            f"{changed.count} of {changed.compared}: {changed.flagged_now} flagged now, {changed.no_longer_flagged} no "
            f"longer flagged. Below those with the largest change in score, shown to those who may start {RETRAIN_DAG}."
        )
        yield ""
        yield f"![Pictures of test images whose verdict changes]({page_path(f'{CHANGED_IMAGES}/{found.version}.svg')})"
    if changed.stable_version != found.stable:
        yield ""
        yield f"The gate compared with version {changed.stable_version}, which was stable then."
    yield ""


def _picture_in_words(found: ShadowReport) -> str:
    more = sum(flip.flagged_now for flip in found.flips)
    return (
        f"Scores by both versions of images that are decided differently: {more} flagged now, "
        f"{len(found.flips) - more} no longer flagged"
    )


def _flip(flip: Flip) -> str:
    now = "flagged now" if flip.flagged_now else "no longer flagged"
    where = code_span(f"s3://{flip.bucket}/{flip.key}")
    return f"* {flip.stable_score:.3f} → {flip.candidate_score:.3f}, {now}: {where}"


def _checks(found: VerifyReport) -> Iterator[str]:
    for server, differences in found.golden.items():
        found_there = _golden(differences)
        yield f"* {code_span(server)}: golden examples differ from the published scores by at most {found_there}"
    yield from (_latency(server, one) for server, one in (found.latency or {}).items())


def _golden(found: GoldenDifferences) -> str:
    return f"{found.pixels:.1e} (pixels) and {found.serving_default:.1e} (serving_default)"


def _latency(server: str, found: LatencyComparison) -> str:
    candidate, stable = found.candidate, found.stable
    return (
        f"* {code_span(server)}: a batch of {found.batch} takes {candidate.median_ms:.1f} ms (median; stable: "
        f"{stable.median_ms:.1f} ms) and {candidate.p95_ms:.1f} ms (95th percentile; stable: {stable.p95_ms:.1f} ms)"
    )
