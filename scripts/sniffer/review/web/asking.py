"""The queue's filter as it stands in an address, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlencode

from starlette.requests import Request

from sniffer.core.errors import SettingsError
from sniffer.core.review_records import QueueFilter, QueueKey, QueueOrder
from sniffer.review.web.choosing import QueueAsked

FIELDS = ("bucket", "prefix", "since", "until", "low", "high", "version", "order", "lead")
_MOST_CHARS = 1024


def asked_by(request: Request) -> QueueAsked:
    """From the address; SettingsError names what is none. `lead` asks for what a lead must settle."""
    given = {name: value[:_MOST_CHARS] for name, value in request.query_params.items() if value}
    try:
        order = QueueOrder(given.get("order", "score"))
    except ValueError:
        raise SettingsError(f"there is no order {given['order']!r}: it is score or information") from None
    return QueueAsked(
        QueueFilter(
            given.get("bucket"),
            given.get("prefix", ""),
            _moment(given, "since"),
            _moment(given, "until"),
            _share(given, "low"),
            _share(given, "high"),
            _number(given, "version"),
        ),
        order,
        parse_after(given.get("after", "")),
        "alone" in given,
        "lead" in given,
        tuple(int(word) for word in given.get("skipped", "").split(",") if word.isascii() and word.isdigit()),
    )


def filters_of(request: Request) -> dict[str, str]:
    """The filter's fields as they were given, for forms."""
    return {name: request.query_params.get(name, "")[:_MOST_CHARS] for name in FIELDS}


def address(
    path: str, filters: dict[str, str], after: QueueKey | None = None, skipped: Sequence[int] = (), **more: str
) -> str:
    """A page of ours with that filter, after that place of the queue, without what was skipped."""
    values = {name: value for name, value in filters.items() if value and name in FIELDS} | more
    if after is not None:
        values["after"] = after_text(after)
    if skipped:
        values["skipped"] = ",".join(map(str, skipped))
    return f"{path}?{urlencode(values)}" if values else path


def after_text(after: QueueKey) -> str:
    """A place in the queue as one word."""
    return f"{after.place!r},{after.image_id}"


def parse_after(text: str) -> QueueKey | None:
    """The inverse of after_text(); None for anything else, which is the queue's beginning."""
    place, _, image_id = text.partition(",")
    try:
        found = QueueKey(float(place), int(image_id))
    except ValueError:
        return None
    return found if math.isfinite(found.place) and 0 <= found.image_id < 1 << 63 else None


def _moment(given: dict[str, str], name: str) -> datetime | None:
    if name not in given:
        return None
    try:
        moment = datetime.fromisoformat(given[name])
    except ValueError:
        raise SettingsError(f"{name}: {given[name]!r} is no date such as 2026-11-20") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _share(given: dict[str, str], name: str) -> float | None:
    if name not in given:
        return None
    try:
        found = float(given[name])
    except ValueError:
        found = math.nan
    if not 0 <= found <= 1:
        raise SettingsError(f"{name}: {given[name]!r} is no score from 0 to 1")
    return found


def _number(given: dict[str, str], name: str) -> int | None:
    if name not in given:
        return None
    if not (given[name].isascii() and given[name].isdigit() and 0 < int(given[name]) < 1 << 31):
        raise SettingsError(f"{name}: {given[name]!r} is no model version")
    return int(given[name])
