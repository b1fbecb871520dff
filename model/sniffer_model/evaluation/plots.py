"""Plots as inline SVG: they take the page's colours, light or dark, and need no library.

Shares and scores go in as numbers from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TypeAlias

import numpy as np

from sniffer.core.model_metrics import ReliabilityFigures
from sniffer_model.statistics.metrics import Band, Values

ClassShares: TypeAlias = Mapping[str, Values]

_BINS = 25
_PANEL_WIDTH, _PANEL_HEIGHT, _PANEL_GAP, _PANEL_LEFT, _PANEL_TOP = 560, 90, 30, 56, 24
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


def reliability_plot(bins: Sequence[ReliabilityFigures]) -> str:
    """Share of drugs against mean score by bin, with intervals; the larger the dot, the more images."""
    most = max(one.images for one in bins)
    marks = [_diagonal()]
    for one in bins:
        x, y, (low, high) = one.mean_score, one.drugs_share, one.drugs_share_interval
        tip = f"{one.images} images: mean score {x:.3f}, share of drugs {y:.3f} [{low:.3f}, {high:.3f}]"
        marks.append(f'<polyline class="whisker" points="{_points([(x, low), (x, high)])}"/>')
        marks.append(_dot(x, y, radius=3 + 5 * (one.images / most) ** 0.5, tip=tip))
    return _plot("Reliability on the test split", ("mean calibrated score", "share of drugs, classes even"), marks)


def score_histogram(shares: ClassShares, threshold: float, words: str) -> str:
    """A panel for each class, of the share of its images by score; a dashed line is the threshold. `words` say it."""
    bottom = _PANEL_TOP + len(shares) * (_PANEL_HEIGHT + _PANEL_GAP)
    line = _PANEL_LEFT + _PANEL_WIDTH * threshold
    # Near the right edge there is no room to the right of the line.
    anchor, shift = ("end", -6) if threshold > 0.7 else ("start", 6)
    parts = [
        f'<svg role="img" aria-label="{escape(words)}" viewBox="0 0 {_PANEL_LEFT + _PANEL_WIDTH + 12} {bottom + 20}">'
    ]
    for row, (label, share) in enumerate(shares.items()):
        parts += _panel(label, share, _PANEL_TOP + row * (_PANEL_HEIGHT + _PANEL_GAP))
    for tick in _TICKS:
        x = _PANEL_LEFT + _PANEL_WIDTH * tick
        parts.append(f'<text x="{x:.1f}" y="{bottom - _PANEL_GAP + 16}" text-anchor="middle">{tick:g}</text>')
    middle = _PANEL_LEFT + _PANEL_WIDTH / 2
    parts += [
        f'<text x="{middle}" y="{bottom + 12}" text-anchor="middle">calibrated score</text>',
        f'<path class="threshold" d="M{line:.1f} 8V{bottom - _PANEL_GAP}"/>',
        f'<text x="{line + shift:.1f}" y="14" text-anchor="{anchor}">threshold {threshold:.3f}</text>',
        "</svg>",
    ]
    return "\n".join(parts)


def class_shares(scores_by_class: Mapping[str, Values]) -> ClassShares:
    """For each class, the share of its images in each of equal bins of the score."""
    counts = {label: np.histogram(scores, _BINS, (0, 1))[0] for label, scores in scores_by_class.items()}
    return {label: found / max(1, found.sum()) for label, found in counts.items()}


def flagged_in_words(scores_by_class: Mapping[str, Values], threshold: float) -> str:
    """How much of each class is at or above the threshold."""
    shares = [f"{float(np.mean(scores >= threshold)):.1%} of {label}" for label, scores in scores_by_class.items()]
    return f"At or above the threshold are {' and '.join(shares)}."


def _panel(label: str, shares: Values, top: float) -> list[str]:
    """Bars of one class, as high as the panel where most of its images are."""
    floor, highest = top + _PANEL_HEIGHT, float(shares.max())
    width = _PANEL_WIDTH / len(shares)
    bars = []
    for number, share in enumerate(shares):
        height = _PANEL_HEIGHT * float(share) / highest if highest else 0.0
        low, high = number / len(shares), (number + 1) / len(shares)
        bars.append(
            f'<rect class="bar {escape(label)}" x="{_PANEL_LEFT + number * width + 1:.1f}" y="{floor - height:.1f}" '
            f'width="{width - 2:.1f}" height="{height:.1f}"><title>{escape(label)}, score {low:.2f} to {high:.2f}: '
            f"{float(share):.1%}</title></rect>"
        )
    return [
        f'<path class="grid" d="M{_PANEL_LEFT} {top}H{_PANEL_LEFT + _PANEL_WIDTH}M{_PANEL_LEFT} {floor}H'
        f'{_PANEL_LEFT + _PANEL_WIDTH}"/>',
        f'<text x="{_PANEL_LEFT - 6}" y="{top + 4}" text-anchor="end">{highest:.0%}</text>',
        f'<text x="{_PANEL_LEFT - 6}" y="{floor}" text-anchor="end">0%</text>',
        f'<text class="label" x="{_PANEL_LEFT - 6}" y="{top + _PANEL_HEIGHT / 2 + 4}" text-anchor="end">'
        f"{escape(label)}</text>",
        *bars,
    ]


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
