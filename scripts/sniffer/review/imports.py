"""Decisions that were made in another program: a CSV, a Label Studio export, a body of our webhook or of Coop's. Pure.

Every reader gives decisions, or a SettingsError that names the row and what is wrong with it: nothing is guessed.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from sniffer.core.errors import SettingsError
from sniffer.core.review_records import NOTE_CHARS, REVIEWER_CHARS, ImportedDecision, Reason, ReviewDecision
from sniffer.core.text import one_line
from sniffer.review.spreadsheets import plain_cell

MOST_DECISIONS = 100_000
"""In one import."""
_NAMED_ROWS = 20
_NEEDED = ("image_id", "decision")
_NUMBER = re.compile("[1-9][0-9]{0,17}")
_SHA256 = re.compile("[0-9a-f]{64}")


class WebhookDecision(msgspec.Struct, forbid_unknown_fields=True):
    """A decision in the body of our webhook."""

    image_id: int
    decision: str
    reason: str = ""
    note: str = ""
    reviewer: str = ""
    content_sha256: str = ""


class WebhookBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of our webhook: `{"reviewer": …, "decisions": [{"image_id": …, "decision": "drug", …}, …]}`."""

    decisions: list[WebhookDecision]
    reviewer: str = ""


class CoopItem(msgspec.Struct):
    """The item of an action of Coop's."""

    id: str


class CoopCustom(msgspec.Struct, frozen=True):
    """The custom parameters that the action has in Coop."""

    decision: str = ""
    reason: str = ""


class CoopAction(msgspec.Struct, rename="camel"):
    """What Coop sends to the callback URL of an action; fields that are not named here are passed over."""

    item: CoopItem
    custom: CoopCustom = CoopCustom()
    actor_email: str | None = None
    actor_note: str | None = None


class LabelStudioUser(msgspec.Struct):
    """Who has annotated, where the export says more than a number."""

    id: int = 0
    email: str = ""


class LabelStudioValue(msgspec.Struct, frozen=True):
    """What a control of the labelling interface says."""

    choices: list[str] = []
    text: str | list[str] = ""


class LabelStudioResult(msgspec.Struct, frozen=True):
    """A control's answer; those of other controls are passed over."""

    from_name: str = ""
    value: LabelStudioValue = LabelStudioValue()


class LabelStudioAnnotation(msgspec.Struct):
    """One person's answers about a task."""

    result: list[LabelStudioResult] = []
    was_cancelled: bool | None = False
    completed_by: LabelStudioUser | int | str | None = None
    created_at: str | None = None
    updated_at: str | None = None

    @property
    def reviewer(self) -> str:
        """Their address where it is known, else their number."""
        by = self.completed_by
        return (by.email or str(by.id or "")) if isinstance(by, LabelStudioUser) else str(by or "")


class LabelStudioData(msgspec.Struct, frozen=True):
    """Of what as_label_studio() wrote, which image it is."""

    image_id: int | str = ""
    content_sha256: str = ""


class LabelStudioTask(msgspec.Struct):
    """A task of a JSON export."""

    data: LabelStudioData = LabelStudioData()
    annotations: list[LabelStudioAnnotation] = []


def decisions_of_csv(text: str, *, reviewer: str = "") -> list[ImportedDecision]:
    """The rows with a decision of a table as as_csv() writes it; the columns may be in any order, others are ignored.

    `reviewer` is whose they are where the table does not say. Raises SettingsError with every wrong row.
    """
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise SettingsError(
            f"the table cannot be read near line {reader.line_num} ({error}): look for a quote"
        ) from error
    names = [name.strip().lower() for name in reader.fieldnames or ()]
    if missing := [name for name in _NEEDED if name not in names]:
        raise SettingsError(
            f"the table has no column {', '.join(missing)} (it has {one_line(', '.join(names)) or 'none'}): take "
            "one that `sniffer review export` has written, and fill in decision, reason, note and reviewer"
        )
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise SettingsError(f"the table has two columns {one_line(twice[0])}: leave one")
    if wide := [number for number, row in rows if None in row]:
        raise SettingsError(
            f"line {wide[0]} of the table has more cells than its header ({len(wide):,} such rows): put text with a "
            "comma in quotes"
        )
    told = [(f"line {number}", _row_values(row)) for number, row in rows]
    return _checked([(where, row) for where, row in told if row.get("decision")], reviewer)


def decisions_of_label_studio(text: str, *, reviewer: str = "") -> list[ImportedDecision]:
    """The newest annotation of each task of an export (JSON) of a project with our labelling interface."""
    try:
        tasks = msgspec.json.decode(text, type=list[LabelStudioTask])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise SettingsError(f"this is no JSON export of Label Studio ({error})") from error
    told = []
    for number, task in enumerate(tasks, start=1):
        annotations = [each for each in task.annotations if not each.was_cancelled]
        if annotations:
            newest = max(annotations, key=lambda each: each.updated_at or each.created_at or "")
            told.append((f"task {number}", _annotation_values(task, newest)))
    return _checked(told, reviewer)


def decisions_of_webhook(body: bytes) -> list[ImportedDecision]:
    """The decisions in a body of our webhook."""
    try:
        found = msgspec.json.decode(body, type=WebhookBody)
    except msgspec.MsgspecError as error:
        raise SettingsError(f"the body is not what the webhook takes ({error})") from error
    told = [(f"decision {number}", _struct_values(each)) for number, each in enumerate(found.decisions, start=1)]
    return _checked(told, found.reviewer)


def decisions_of_coop(body: bytes) -> list[ImportedDecision]:
    """The decision in the callback of an action of Coop's, whose custom parameters say which `decision` it is."""
    try:
        found = msgspec.json.decode(body, type=CoopAction)
    except msgspec.MsgspecError as error:
        raise SettingsError(f"the body is no callback of an action of Coop's ({error})") from error
    image_id, _, digest = found.item.id.partition("-")
    if not found.custom.decision:
        raise SettingsError(
            "the action of Coop's has no custom parameter `decision`: add it to its body, with drug, not_drug or unsure"
        )
    values = {
        "image_id": image_id,
        "decision": found.custom.decision,
        "reason": found.custom.reason,
        "note": found.actor_note or "",
        "reviewer": found.actor_email or "",
        "content_sha256": digest,
    }
    return _checked([(f"item {one_line(found.item.id, 80)}", values)], "coop")


def _row_values(row: Mapping[str | None, Any]) -> dict[str, str]:
    """Of a row of a CSV, by the columns' names in lower case; what a spreadsheet's quote protects, without it."""
    named = ((name, value) for name, value in row.items() if name is not None and isinstance(value, str))
    return {name.strip().lower(): plain_cell(value).strip() for name, value in named}


def _struct_values(each: WebhookDecision) -> dict[str, str]:
    return {name: str(getattr(each, name)) for name in each.__struct_fields__}


def _annotation_values(task: LabelStudioTask, annotation: LabelStudioAnnotation) -> dict[str, str]:
    values = {
        "image_id": str(task.data.image_id),
        "content_sha256": task.data.content_sha256,
        "reviewer": annotation.reviewer,
    }
    for result in annotation.result:
        if result.from_name in ("decision", "reason"):
            values[result.from_name] = (result.value.choices or [""])[0]
        elif result.from_name == "note":
            words = result.value.text
            values["note"] = words if isinstance(words, str) else "\n".join(words)
    return values


def _checked(told: Sequence[tuple[str, Mapping[str, str]]], reviewer: str) -> list[ImportedDecision]:
    if len(told) > MOST_DECISIONS:
        raise SettingsError(f"{len(told):,} decisions at once; at most {MOST_DECISIONS:,} are taken: split them")
    wrong: list[str] = []
    found: dict[int, ImportedDecision] = {}
    for where, values in told:
        problems = list(_problems(values, reviewer))
        if problems:
            wrong.append(f"{where}: {'; '.join(problems)}")
            continue
        image_id, digest = int(values["image_id"]), values.get("content_sha256", "").lower()
        if image_id in found:
            wrong.append(f"{where}: image {image_id} has a decision already; leave one")
            continue
        reason = values.get("reason", "")
        found[image_id] = ImportedDecision(
            image_id=image_id,
            decision=ReviewDecision(values["decision"]),
            reviewer=values.get("reviewer") or reviewer,
            reason=Reason(reason) if reason else None,
            note=values.get("note", ""),
            content_hash=bytes.fromhex(digest) if digest else None,
        )
    if wrong:
        more = f"; … and {len(wrong) - _NAMED_ROWS:,} more" if len(wrong) > _NAMED_ROWS else ""
        raise SettingsError(
            f"{len(wrong):,} of {len(told):,} decisions are wrong: {'; '.join(wrong[:_NAMED_ROWS])}{more}"
        )
    return list(found.values())


def _problems(values: Mapping[str, str], reviewer: str) -> Iterator[str]:
    decision, reason = values.get("decision", ""), values.get("reason", "")
    if not _NUMBER.fullmatch(values.get("image_id", "")):
        yield f"{_quoted(values.get('image_id', ''))} is no image_id, which is a number"
    if decision not in list(ReviewDecision):
        yield f"{_quoted(decision)} is no decision: use {', '.join(ReviewDecision)}"
    elif (decision == ReviewDecision.DRUG) != bool(reason):
        yield f"`drug` needs a reason, and nothing else may have one ({decision}, {_quoted(reason)})"
    if reason and reason not in list(Reason):
        yield f"{_quoted(reason)} is no reason: use {', '.join(Reason)}"
    if len(values.get("note", "")) > NOTE_CHARS:
        yield f"its note has over {NOTE_CHARS:,} characters"
    name = values.get("reviewer") or reviewer
    if not 0 < len(name) <= REVIEWER_CHARS:
        yield f"it names no reviewer of 1 to {REVIEWER_CHARS} characters"
    elif not name.isprintable():
        yield f"{_quoted(name)} is no name of a reviewer: it has characters that cannot be shown"
    digest = values.get("content_sha256", "").lower()
    if digest and not _SHA256.fullmatch(digest):
        yield f"{_quoted(digest)} is no SHA-256"


def _quoted(text: str) -> str:
    return repr(one_line(text, 60))
