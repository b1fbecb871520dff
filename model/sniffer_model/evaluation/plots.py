"""Plots as inline SVG: they take the page's colours, so that one page serves light and dark, and need no library.

Coordinates are of the unit square; what goes in are shares and scores from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

from sniffer_model.statistics.metrics import Band, Values

_SIDE, _LEFT, _TOP, _WIDTH, _HEIGHT = 300, 48, 12, 366, 362
_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def band_plot(
    title: str, axes: tuple[str, str], x: Values, band: Band, *, at: tuple[float, float], diagonal: bool = False
) -> str:
    """A curve in the band of its intervals, with a dot at the threshold in use; undefined points are left out."""
    drawn = np.isfinite(band.values) & np.isfinite(band.low) & np.isfinite(band.high)
    x, values, low, high = (part[drawn] for part in (x, band.values, band.low, band.high))
    outline = [*zip(x, low, strict=True), *reversed(list(zip(x, high, strict=True)))]
    marks = [
        f'<polygon class="band" points="{_points(outline)}"/>',
        f'<polyline class="line" points="{_points(zip(x, values, strict=True))}"/>',
        _dot(*at, radius=5, tip=f"threshold in use: {at[0]:.3f}, {at[1]:.3f}"),
    ]
    return _plot(title, axes, [*([_diagonal()] if diagonal else []), *marks])


def reliability_plot(bins: Sequence[dict[str, float]], intervals: Sequence[Sequence[float]]) -> str:
    """Share of drugs against mean score by bin, with intervals; the larger the dot, the more images."""
    most = max(one["images"] for one in bins)
    marks = [_diagonal()]
    for one, (low, high) in zip(bins, intervals, strict=True):
        x, y = one["mean_score"], one["drugs_share"]
        tip = f"{one['images']} images: mean score {x:.3f}, share of drugs {y:.3f} [{low:.3f}, {high:.3f}]"
        marks.append(f'<polyline class="whisker" points="{_points([(x, low), (x, high)])}"/>')
        marks.append(_dot(x, y, radius=3 + 5 * (one["images"] / most) ** 0.5, tip=tip))
    return _plot("Reliability on the test split", ("mean calibrated score", "share of drugs, classes even"), marks)


def _plot(title: str, axes: tuple[str, str], marks: Iterable[str]) -> str:
    middle = _TOP + _SIDE / 2
    parts = [
        f'<svg role="img" aria-label="{escape(title)}" viewBox="0 0 {_WIDTH} {_HEIGHT}">',
        *(_tick(share) for share in _TICKS),
        f'<text x="{_LEFT + _SIDE / 2}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(axes[0])}</text>',
        f'<text x="12" y="{middle}" text-anchor="middle" transform="rotate(-90 12 {middle})">{escape(axes[1])}</text>',
        *marks,
        "</svg>",
    ]
    return "\n".join(parts)


def _tick(share: float) -> str:
    x, y = _at(share, share)
    end_x, end_y = _LEFT + _SIDE, _TOP + _SIDE
    return (
        f'<path class="grid" d="M{x:.1f} {_TOP}V{end_y}M{_LEFT} {y:.1f}H{end_x}"/>'
        f'<text x="{x:.1f}" y="{end_y + 16}" text-anchor="middle">{share:g}</text>'
        f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{share:g}</text>'
    )


def _diagonal() -> str:
    return f'<polyline class="diagonal" points="{_points([(0, 0), (1, 1)])}"/>'


def _dot(x: float, y: float, *, radius: float, tip: str) -> str:
    left, top = _at(x, y)
    return f'<circle class="dot" cx="{left:.1f}" cy="{top:.1f}" r="{radius:.1f}"><title>{escape(tip)}</title></circle>'


def _points(pairs: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{left:.1f},{top:.1f}" for left, top in (_at(x, y) for x, y in pairs))


def _at(x: float, y: float) -> tuple[float, float]:
    return _LEFT + _SIDE * float(x), _TOP + _SIDE * (1 - float(y))
