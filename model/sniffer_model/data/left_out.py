"""How many labels a snapshot may lose before it fails, as a scan does, instead of freezing what is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sniffer.core.errors import SettingsError
from sniffer.core.text import one_line
from sniffer_model.data.manifest import Exclusion
from sniffer_model.data.source import ImageSource

LEFT_OUT_BUDGET = 0.1
_BY_RULE = ("joins_splits", "repeated_key")
"""Left out although the image and its label are as they should be."""
_NAMED = 3


def check_left_out(excluded: Sequence[Exclusion], labels: int, source: ImageSource, budget: float) -> None:
    """Raise SettingsError, with the likely cause, when more than that share of the labels is lost."""
    lost = [exclusion for exclusion in excluded if exclusion.code not in _BY_RULE]
    if len(lost) <= budget * labels:
        return
    codes = Counter(exclusion.code for exclusion in lost).most_common()
    usual, _ = codes[0]
    of_it = [exclusion for exclusion in lost if exclusion.code == usual]
    named = ", ".join(one_line(exclusion.key) for exclusion in of_it[:_NAMED])
    cause = source.why_gone([exclusion.key for exclusion in of_it]) if usual == "gone" else of_it[0].message
    raise SettingsError(
        f"{len(lost):,} of {labels:,} labels in {source.location} are lost, more than the budget of {budget:.0%} "
        f"({', '.join(f'{count:,} {code}' for code, count in codes)}), such as {named}"
        f"{f': {cause}' if cause else ''}; mend the labels, or raise --left-out-budget"
    )
