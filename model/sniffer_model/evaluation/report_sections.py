"""The part of the report that changes after it was made.

It tells what the gate decided of the model, why, and how it compares with the stable one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from sniffer.core.errors import ContractError
from sniffer.core.model_metrics import IntervalEstimate
from sniffer_model.evaluation.report import template_environment

_SECTION = re.compile(r"<!-- verdict -->.*<!-- /verdict -->", re.DOTALL)
_TEMPLATE = "verdict.html.j2"


@dataclass(frozen=True, slots=True)
class FigureBeside:
    """A figure of this model and of the stable one, with the interval of their difference; None where undefined.

    `decimals` is how many are shown.
    """

    name: str
    candidate: float | None
    stable: float | None
    difference: IntervalEstimate | None
    decimals: int


@dataclass(frozen=True, slots=True)
class Judged:
    """The gate's decision as the report tells it. `stable_version` is None when there is no stable version yet.

    `warnings` are to be read even where the model is accepted.
    """

    version: int | None
    accepted: bool
    judged_at: datetime
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    overridden_by: str | None
    override_reason: str | None
    stable_version: int | None
    images: int
    figures: tuple[FigureBeside, ...]


def with_verdict(page: str, judged: Judged) -> str:
    """The report with that verdict in place of the one before; ContractError for a page of an older release."""
    section = template_environment().get_template(_TEMPLATE).render(judged=judged)
    changed, found = _SECTION.subn(lambda _: section.strip(), page)
    if found != 1:
        raise ContractError("the report has no place for a verdict: run `sniffer model evaluate`")
    return changed
