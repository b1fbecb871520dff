"""The picture in an approval: how many images both versions flag, and whose score crosses its threshold. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

_FLIP = r"[01]\.\d{3}-[01]\.\d{3}-[01]"
FLIPS_PATTERN = rf"^{_FLIP}(,{_FLIP})*$"

_WIDTH, _HEIGHT = 640, 260
_TOP, _BOTTOM = 56, 216
_BARS = (("stable", 60, "#5c6675"), ("new", 140, "#1d2430"))
_FROM, _TO = 330, 560
_FLAGGED, _CLEARED = "#a33a00", "#1f5fbf"

Marks: TypeAlias = list[str]


@dataclass(frozen=True)
class ChangedScore:
    """An image on which the versions decide differently: its scores, from 0 to 1, and the new decision."""

    stable: float
    candidate: float
    flagged_now: bool

    @classmethod
    def parse_all(cls, text: str) -> list[ChangedScore]:
        """From text of FLIPS_PATTERN."""
        parts = [each.split("-") for each in text.split(",")]
        return [cls(float(stable), float(candidate), now == "1") for stable, candidate, now in parts]


def draw_changes(compared: int, stable: int, candidate: int, changed: list[ChangedScore]) -> str:
    """The picture as SVG, on a white ground of its own, since Airflow shows it on light and on dark."""
    style = (
        "text { font: 13px system-ui, sans-serif; fill: #1d2430; } .faint { fill: #5c6675; } line { stroke-width: 2; }"
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
            f'height="{_HEIGHT}">',
            f"<style>{style}</style>",
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="8" fill="#fff" stroke="#d9dee6"/>',
            *_flag_bars(compared, stable, candidate),
            *_score_lines(changed),
            "</svg>",
        ]
    )


def _flag_bars(compared: int, stable: int, candidate: int) -> Marks:
    marks = [_text(130, 28, f"Flagged of {compared} images")]
    most = max(stable, candidate, 1)
    for (name, left, colour), count in zip(_BARS, (stable, candidate), strict=True):
        height = (_BOTTOM - _TOP - 20) * count / most
        marks += [
            f'<rect x="{left}" y="{_BOTTOM - height:.1f}" width="56" height="{height:.1f}" fill="{colour}"/>',
            _text(left + 28, _BOTTOM - height - 6, str(count)),
            _text(left + 28, _BOTTOM + 20, name),
        ]
    return marks


def _score_lines(changed: list[ChangedScore]) -> Marks:
    middle = (_FROM + _TO) / 2
    marks = [
        _text(middle, 28, "Scores of images decided differently"),
        _text(_FROM, _BOTTOM + 20, "stable"),
        _text(_TO, _BOTTOM + 20, "new"),
        _text(_FROM - 22, _TOP + 4, "1", "faint"),
        _text(_FROM - 22, _BOTTOM + 4, "0", "faint"),
        *(f'<path d="M{x} {_TOP}V{_BOTTOM}" stroke="#d9dee6"/>' for x in (_FROM, _TO)),
    ]
    for one in changed:
        # Dashes tell the two apart for those who do not see the colours.
        colour, dashes = (_FLAGGED, "") if one.flagged_now else (_CLEARED, ' stroke-dasharray="5 4"')
        start, end = _height(one.stable), _height(one.candidate)
        marks.append(f'<line x1="{_FROM}" y1="{start}" x2="{_TO}" y2="{end}" stroke="{colour}"{dashes}/>')
    now = sum(one.flagged_now for one in changed)
    legend = (
        (_FROM - 60, _FLAGGED, "", f"{now} flagged now"),
        (_FROM + 110, _CLEARED, "5 4", f"{len(changed) - now} no longer flagged"),
    )
    for left, colour, dashes, words in legend:
        marks.append(
            f'<line x1="{left}" y1="249" x2="{left + 26}" y2="249" stroke="{colour}" stroke-dasharray="{dashes}"/>'
        )
        marks.append(f'<text x="{left + 34}" y="253">{words}</text>')
    return marks


def _height(score: float) -> str:
    return f"{_BOTTOM - (_BOTTOM - _TOP) * min(score, 1.0):.1f}"


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:.1f}" text-anchor="middle">{words}</text>'
