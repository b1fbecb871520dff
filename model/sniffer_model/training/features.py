"""Features of the frozen backbone: computed once per image content, kept on disk, shared between runs.

In: manifest entries and their source. Out: a [n, 2048] matrix. Decoding in threads overlaps with predicting.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sniffer.adapters.images import PREPROCESSING_VERSION
from sniffer.core.count_progress import StageProgress
from sniffer.core.model_records import IMAGE_SHAPE, LABELS
from sniffer.core.settings import ImageSettings
from sniffer_model.data.entry_pixels import entry_pixels
from sniffer_model.data.manifest import ManifestEntry
from sniffer_model.data.source import ImageSource
from sniffer_model.training.backbone import FEATURES, Backbone
from sniffer_model.training.content_cache import ContentCache

log = logging.getLogger(__name__)

_BATCH_SIZE = 32
_SHARD_ROWS = 1024
_DECODED_AHEAD = 3 * _BATCH_SIZE


@dataclass(frozen=True, slots=True)
class LabelledFeatures:
    """What a head learns from or is judged on. `truth` is True for drugs; row i of all three is one image."""

    entries: tuple[ManifestEntry, ...]
    features: NDArray[np.float32]
    truth: NDArray[np.bool_]
    left_out: int
    """Images of the manifest that are gone or have changed since."""

    def sizes(self) -> dict[str, int]:
        """Number of images by label."""
        return {label: sum(entry.label == label for entry in self.entries) for label in LABELS}


class FeatureCache(ContentCache):
    """Features on disk by content hash, for one backbone and one preprocessing."""

    def __init__(self, root: Path, backbone_digest: str, preprocessing_version: str = PREPROCESSING_VERSION) -> None:
        super().__init__(root / f"{preprocessing_version}-{backbone_digest[:32]}", "features", (FEATURES,), "<f4")


def labelled_features(
    entries: Sequence[ManifestEntry],
    source: ImageSource,
    backbone: Backbone,
    cache: FeatureCache,
    limits: ImageSettings,
) -> LabelledFeatures:
    """Features of these images in their order, from the cache where it has them; new ones are added to it.

    Images that are gone, or whose bytes are not those of the manifest any more, are left out with a warning.
    """
    known = cached_outputs(entries, source, backbone.network, cache, limits)
    kept = tuple(entry for entry in entries if entry.content_sha256 in known)
    return LabelledFeatures(
        entries=kept,
        features=np.array([known[entry.content_sha256] for entry in kept], np.float32).reshape(-1, FEATURES),
        truth=np.array([entry.label == LABELS[1] for entry in kept], bool),
        left_out=len(entries) - len(kept),
    )


def cached_outputs(
    entries: Sequence[ManifestEntry],
    source: ImageSource,
    network: Any,
    cache: ContentCache,
    limits: ImageSettings,
    shard_rows: int = _SHARD_ROWS,
) -> dict[str, NDArray[Any]]:
    """What the network makes of these images, by content, from the cache; what it does not have is added to it.

    Images that are gone, changed or unreadable are left out with a warning.
    """
    cache.prepare()
    known = cache.load(entry.content_sha256 for entry in entries)
    new = {entry.content_sha256: entry for entry in entries if entry.content_sha256 not in known}
    log.info("features: %d known, %d to compute", len(entries) - len(new), len(new))
    if new:
        _compute(list(new.values()), source, network, cache, limits, shard_rows)
        known = cache.load(entry.content_sha256 for entry in entries)
    return known


def _compute(
    entries: Sequence[ManifestEntry],
    source: ImageSource,
    network: Any,
    cache: ContentCache,
    limits: ImageSettings,
    shard_rows: int,
) -> None:
    unsaved: dict[str, NDArray[Any]] = {}
    with StageProgress("features", len(entries)) as progress:
        for contents, outputs in extract(_decoded(entries, source, limits), network):
            unsaved.update(zip(contents, outputs, strict=True))
            progress.advance(len(contents))
            if len(unsaved) >= shard_rows:
                cache.add(unsaved)
                unsaved = {}
    if unsaved:
        cache.add(unsaved)


def extract(
    images: Iterable[tuple[str, NDArray[np.uint8]]], network: Any
) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    """The network's outputs for named images, in batches: their names and a [batch, …] array."""
    predict = _predictor(network)
    stream = iter(images)
    while batch := list(islice(stream, _BATCH_SIZE)):
        yield [name for name, _ in batch], predict(np.stack([pixels for _, pixels in batch])).numpy()


def _predictor(network: Any) -> Any:
    # One trace for every batch size; much less overhead per call than Model.predict.
    signature = [tf.TensorSpec([None, *IMAGE_SHAPE], tf.uint8)]
    return tf.function(lambda pixels: network(pixels, training=False), input_signature=signature)


def _decoded(
    entries: Sequence[ManifestEntry], source: ImageSource, limits: ImageSettings
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Decode in threads, a bounded number of images ahead of the consumer; the order is kept."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting: deque[tuple[ManifestEntry, Future[NDArray[np.uint8] | None]]] = deque()
        ahead = iter(entries)
        while True:
            for entry in islice(ahead, _DECODED_AHEAD - len(waiting)):
                waiting.append((entry, pool.submit(entry_pixels, entry, source, limits)))
            if not waiting:
                return
            entry, future = waiting.popleft()
            if (pixels := future.result()) is not None:
                yield entry.content_sha256, pixels
