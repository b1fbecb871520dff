"""The pictures in an approval: test images that both versions decide differently, as one SVG. Pure."""

from __future__ import annotations

from html import escape

from sniffer.core.changed_images import PICTURE_PREFIX, ChangedImage, ChangedImages

_COLUMNS = 4
_CELL, _PICTURE, _CAPTION, _TOP = 156, 144, 64, 40
_MOST_CHARS = 22
_FLAGGED, _CLEARED = "#a33a00", "#1f5fbf"


def draw_contact_sheet(found: ChangedImages, version: int) -> str:
    """The sheet, on a white ground of its own, since Airflow shows it on light and on dark."""
    columns = min(_COLUMNS, max(len(found.images), 1))
    rows = -(-len(found.images) // _COLUMNS)
    # Never narrower than its title.
    width, height = max(columns * _CELL, 3 * _CELL) + 12, _TOP + rows * (_PICTURE + _CAPTION) + 8
    title = f"{found.count} of {found.compared} test images are decided differently by version {version}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img" aria-labelledby="title">',
            f'<title id="title">{title}</title>',
            "<style>text { font: 13px system-ui, sans-serif; fill: #1d2430; } .faint { fill: #5c6675; }</style>",
            f'<rect x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="8" fill="#fff" stroke="#d9dee6"/>',
            f'<text x="12" y="25">{title}</text>',
            *(line for number, image in enumerate(found.images) for line in _cell(image, number)),
            "</svg>",
        ]
    )


def _cell(image: ChangedImage, number: int) -> list[str]:
    left, top = 12 + number % _COLUMNS * _CELL, _TOP + number // _COLUMNS * (_PICTURE + _CAPTION)
    colour, decision = (_FLAGGED, "flagged now") if image.flagged_now else (_CLEARED, "no longer flagged")
    kind = f"{image.label}, {image.slice}" if image.slice else image.label
    return [
        *_picture(image, left, top),
        f'<text x="{left}" y="{top + _PICTURE + 17}">{image.stable_score:.3f} → {image.candidate_score:.3f}</text>',
        f'<text x="{left}" y="{top + _PICTURE + 33}" style="fill: {colour}">{decision}</text>',
        f'<text class="faint" x="{left}" y="{top + _PICTURE + 49}">{escape(_cut(kind))}</text>',
    ]


def _picture(image: ChangedImage, left: int, top: int) -> list[str]:
    place = f'x="{left}" y="{top}" width="{_PICTURE}" height="{_PICTURE}"'
    if image.picture is None or not image.picture.startswith(PICTURE_PREFIX):
        return [
            f'<rect {place} fill="#f6f7f9"/>',
            f'<text class="faint" x="{left + 20}" y="{top + _PICTURE // 2}">cannot be read</text>',
        ]
    return [f'<image {place} href="{escape(image.picture)}"/>']


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARS else f"{text[: _MOST_CHARS - 1]}…"
