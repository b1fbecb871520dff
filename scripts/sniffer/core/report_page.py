"""The part of a training's report with users' pictures and keys: marked in the page, so that it can be left out."""

from __future__ import annotations

import re

from sniffer.core.errors import ContractError

_MISTAKES = re.compile(r"<!-- mistakes -->.*<!-- /mistakes -->", re.DOTALL)


def without_mistakes(page: str, instead: str) -> str:
    """The report without a picture or a key, with that HTML in their place; ContractError for an older release's."""
    changed, found = _MISTAKES.subn(lambda _: instead, page)
    if found != 1:
        raise ContractError("the report does not mark its mistakes: run `sniffer model evaluate`")
    return changed
