"""Choosing and writing the golden examples of a version."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from sniffer.adapters.images import decode
from sniffer.core.errors import UnreadableImage
from sniffer.core.files import write_json
from sniffer.core.model_records import LABELS
from sniffer.core.settings import ImageSettings
from sniffer_model.data.manifest import ManifestEntry
from sniffer_model.data.source import ImageSource
from sniffer_model.release.golden import (
    EXAMPLES_FILE,
    GOLDEN_FOLDER,
    GoldenExample,
    GoldenFiles,
    GoldenImage,
    GoldenList,
)

_EACH_CLASS = 4


# What every version of TensorFlow Serving decodes.
_PORTABLE = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png"}


def choose_golden(
    entries: Sequence[ManifestEntry], source: ImageSource, limits: ImageSettings
) -> tuple[GoldenImage, ...]:
    """Up to four images of each class, always the same of the same entries; those not to be had are passed over."""
    chosen: list[GoldenImage] = []
    for label in LABELS:
        of_label = sorted((e for e in entries if e.label == label), key=lambda entry: entry.content_sha256)
        found = 0
        for entry in of_label:
            if found < _EACH_CLASS and (image := _golden_image(entry, source, limits)) is not None:
                chosen.append(image)
                found += 1
    return tuple(chosen)


def write_golden(examples: Iterable[GoldenExample], directory: Path) -> None:
    """Write the examples under `golden/`: raw pixels, encoded images, and examples.json with the scores."""
    folder = directory / GOLDEN_FOLDER
    folder.mkdir()
    listed = []
    for number, example in enumerate(examples):
        raw, encoded = f"{number}.rgb", f"{number}{example.image.suffix}"
        (folder / raw).write_bytes(example.image.pixels.tobytes())
        (folder / encoded).write_bytes(example.image.encoded)
        listed.append(GoldenFiles(example.image.label, raw, example.score, encoded, example.encoded_score))
    write_json(folder / EXAMPLES_FILE, GoldenList(tuple(listed)))


def _golden_image(entry: ManifestEntry, source: ImageSource, limits: ImageSettings) -> GoldenImage | None:
    try:
        data = source.read(entry.key)
        pixels = decode(data, max_pixels=limits.max_pixels, max_bytes=limits.max_bytes)
    except (OSError, UnreadableImage):
        return None
    suffixes = [suffix for magic, suffix in _PORTABLE.items() if data.startswith(magic)]
    return GoldenImage(entry.label, data, suffixes[0], pixels) if suffixes else None
