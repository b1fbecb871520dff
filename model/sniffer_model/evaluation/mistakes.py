"""The worst mistakes on the test split, for people to look at: which images, how far off, and a thumbnail of each."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from sniffer.adapters.images.render import decode
from sniffer.core.errors import UnreadableImage
from sniffer.core.settings import ImageSettings
from sniffer_model.data.source import ImageSource
from sniffer_model.evaluation.figures import SplitFigures
from sniffer_model.evaluation.thumbnails import jpeg_uri

log = logging.getLogger(__name__)

_SHRINK = 2


@dataclass(frozen=True, slots=True)
class Mistake:
    """One image on the wrong side of the threshold. `picture` is a data URI, None when it can no longer be read."""

    key: str
    label: str
    slice: str
    score: float
    picture: str | None


def worst_mistakes(
    judgement: SplitFigures, source: ImageSource, limits: ImageSettings, count: int
) -> tuple[list[Mistake], list[Mistake]]:
    """The drugs that were missed with the lowest scores, and the false alarms with the highest; `count` of each."""
    scores, truth = judgement.scores, judgement.images.truth
    flagged = scores >= judgement.operation.threshold
    missed, alarms = np.flatnonzero(truth & ~flagged), np.flatnonzero(~truth & flagged)
    return (
        [_mistake(judgement, row, source, limits) for row in missed[np.argsort(scores[missed])][:count]],
        [_mistake(judgement, row, source, limits) for row in alarms[np.argsort(-scores[alarms])][:count]],
    )


def _mistake(judgement: SplitFigures, row: int, source: ImageSource, limits: ImageSettings) -> Mistake:
    entry = judgement.images.entries[row]
    return Mistake(
        entry.key, entry.label, entry.slice, float(judgement.scores[row]), _picture(entry.key, source, limits)
    )


def _picture(key: str, source: ImageSource, limits: ImageSettings) -> str | None:
    try:
        pixels = decode(source.read(key), max_pixels=limits.max_pixels, max_bytes=limits.max_bytes)
    except (OSError, UnreadableImage) as error:
        log.warning("no thumbnail of %s: %s", key, error)
        return None
    return jpeg_uri(pixels, _SHRINK)
