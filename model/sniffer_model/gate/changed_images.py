"""For whoever approves a candidate: test images that it and the stable version decide differently, with pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sniffer.core.changed_images import ChangedImage, ChangedImages
from sniffer.core.settings import ImageSettings
from sniffer_model.data.entry_pixels import entry_pixels
from sniffer_model.data.manifest import ManifestEntry
from sniffer_model.data.source import ImageSource
from sniffer_model.evaluation.thumbnails import jpeg_uri
from sniffer_model.gate.comparison import Rival

SHOWN = 8


def changed_images(
    entries: Sequence[ManifestEntry],
    candidate: Rival,
    stable: Rival,
    stable_version: int,
    source: ImageSource,
    limits: ImageSettings,
) -> ChangedImages:
    """Both models' decisions on these images; SHOWN of those that differ, the largest change of score first."""
    now, before = candidate.flagged, stable.flagged
    differing = np.flatnonzero(now != before)
    largest = differing[np.argsort(-np.abs(candidate.scores - stable.scores)[differing], kind="stable")][:SHOWN]

    def image(row: int) -> ChangedImage:
        entry = entries[row]
        pixels = entry_pixels(entry, source, limits)
        return ChangedImage(
            entry.label,
            entry.slice,
            float(stable.scores[row]),
            float(candidate.scores[row]),
            bool(now[row]),
            None if pixels is None else jpeg_uri(pixels),
        )

    return ChangedImages(
        stable_version,
        len(entries),
        int(np.sum(now & ~before)),
        int(np.sum(before & ~now)),
        tuple(image(row) for row in largest),
    )
