"""Bars of a row of counts, as SVG without text: what they show is beside them as a table, and in their name. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

_STEP, _BAR, _HEIGHT = 10, 8, 100


def draw_bars(counts: Sequence[int], name: str) -> Markup:
    """One bar for each count, of which the largest is as high as the picture; `name` is read out in its place."""
    most = max([*counts, 1])
    bars = "".join(
        # What is not nothing can be seen, however small beside the others.
        f'<rect x="{number * _STEP + 1}" y="{_HEIGHT - height}" width="{_BAR}" height="{height}"/>'
        for number, count in enumerate(counts)
        if (height := max(2, round(_HEIGHT * count / most)) if count > 0 else 0)
    )
    return Markup(
        f'<svg class="bars" role="img" aria-label="{escape(name)}" viewBox="0 0 {len(counts) * _STEP} {_HEIGHT}" '
        f'preserveAspectRatio="none">{bars}</svg>'
    )
