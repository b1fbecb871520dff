"""Features of the frozen backbone: computed once per image content, kept on disk, shared between runs.

In: manifest entries and their source. Out: a [n, 2048] matrix. Decoding in threads overlaps with predicting.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sniffer.contracts import IMAGE_SHAPE, LABELS, SettingsError, UnreadableImage
from sniffer.images import PREPROCESSING_VERSION, decode
from sniffer.settings import ImageSettings
from sniffer_model.backbone import FEATURES, Backbone
from sniffer_model.manifest import ManifestEntry
from sniffer_model.source import ImageSource

log = logging.getLogger(__name__)

_BATCH_SIZE = 32
_SHARD_ROWS = 1024
_DECODED_AHEAD = 3 * _BATCH_SIZE
_PROGRESS_S = 10.0
_ROW = np.dtype([("content_sha256", "u1", (32,)), ("features", "<f4", (FEATURES,))])


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


class FeatureCache:
    """Features on disk by content hash, for one backbone and one preprocessing.

    Each write adds a file of its own under its final name at once, so that runs may share a cache, and an
    interrupted run keeps what it has written.
    """

    def __init__(self, root: Path, backbone_digest: str, preprocessing_version: str = PREPROCESSING_VERSION) -> None:
        self._folder = root / f"{preprocessing_version}-{backbone_digest[:32]}"

    def prepare(self) -> None:
        """Make the cache's folder, so that a wrong path shows before an hour's work; raises SettingsError."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"cannot write to the feature cache {self._folder}: {error.strerror}") from error

    def load(self, wanted: Iterable[str]) -> dict[str, NDArray[np.float32]]:
        """The features that are known of these contents (hex SHA-256)."""
        missing = {bytes.fromhex(content) for content in wanted}
        known: dict[str, NDArray[np.float32]] = {}
        for path in sorted(self._folder.glob("*.npy")):
            shard = np.load(path, mmap_mode="r")
            for row, content in enumerate(shard["content_sha256"]):
                if (key := content.tobytes()) in missing:
                    missing.discard(key)
                    known[key.hex()] = np.array(shard["features"][row])
        return known

    def add(self, features: Mapping[str, NDArray[np.float32]]) -> None:
        """Keep these features, by content (hex SHA-256)."""
        rows = np.empty(len(features), _ROW)
        for row, (content, values) in zip(rows, features.items(), strict=True):
            row["content_sha256"] = np.frombuffer(bytes.fromhex(content), np.uint8)
            row["features"] = values
        self.prepare()
        part = self._folder / f"{uuid.uuid4().hex}.part"
        try:
            with part.open("wb") as file:
                np.save(file, rows)
            os.replace(part, part.with_suffix(".npy"))
        except OSError as error:
            raise SettingsError(f"cannot write to the feature cache {self._folder}: {error.strerror}") from error


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
    cache.prepare()
    known = cache.load(entry.content_sha256 for entry in entries)
    new = {entry.content_sha256: entry for entry in entries if entry.content_sha256 not in known}
    log.info("features: %d known, %d to compute", len(entries) - len(new), len(new))
    known.update(_computed(list(new.values()), source, backbone, cache, limits))
    kept = tuple(entry for entry in entries if entry.content_sha256 in known)
    return LabelledFeatures(
        entries=kept,
        features=np.array([known[entry.content_sha256] for entry in kept], np.float32).reshape(-1, FEATURES),
        truth=np.array([entry.label == LABELS[1] for entry in kept], bool),
        left_out=len(entries) - len(kept),
    )


def _computed(
    entries: Sequence[ManifestEntry],
    source: ImageSource,
    backbone: Backbone,
    cache: FeatureCache,
    limits: ImageSettings,
) -> dict[str, NDArray[np.float32]]:
    computed: dict[str, NDArray[np.float32]] = {}
    unsaved: dict[str, NDArray[np.float32]] = {}
    progress = _Progress(len(entries))
    for contents, features in extract(_decoded(entries, source, limits), backbone):
        unsaved.update(zip(contents, features, strict=True))
        progress.advance(len(contents))
        if len(unsaved) >= _SHARD_ROWS:
            cache.add(unsaved)
            computed.update(unsaved)
            unsaved = {}
    if unsaved:
        cache.add(unsaved)
    return computed | unsaved


def extract(
    images: Iterable[tuple[str, NDArray[np.uint8]]], backbone: Backbone
) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    """Features of named images, in batches: their names and a [batch, 2048] matrix."""
    predict = _predictor(backbone)
    stream = iter(images)
    while batch := list(islice(stream, _BATCH_SIZE)):
        yield [name for name, _ in batch], predict(np.stack([pixels for _, pixels in batch])).numpy()


def _predictor(backbone: Backbone) -> Any:
    # One trace for every batch size; much less overhead per call than Model.predict.
    signature = [tf.TensorSpec([None, *IMAGE_SHAPE], tf.uint8)]
    return tf.function(lambda pixels: backbone.network(pixels, training=False), input_signature=signature)


def _decoded(
    entries: Sequence[ManifestEntry], source: ImageSource, limits: ImageSettings
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Decode in threads, a bounded number of images ahead of the consumer; the order is kept."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting: deque[tuple[ManifestEntry, Future[NDArray[np.uint8] | None]]] = deque()
        ahead = iter(entries)
        while True:
            for entry in islice(ahead, _DECODED_AHEAD - len(waiting)):
                waiting.append((entry, pool.submit(_pixels, entry, source, limits)))
            if not waiting:
                return
            entry, future = waiting.popleft()
            if (pixels := future.result()) is not None:
                yield entry.content_sha256, pixels


def _pixels(entry: ManifestEntry, source: ImageSource, limits: ImageSettings) -> NDArray[np.uint8] | None:
    try:
        data = source.read(entry.key)
        if hashlib.sha256(data).hexdigest() != entry.content_sha256:
            log.warning("left out %s: it has changed since the snapshot", entry.key)
            return None
        return decode(data, max_pixels=limits.max_pixels, max_bytes=limits.max_bytes)
    except (OSError, UnreadableImage) as error:
        log.warning("left out %s: %s", entry.key, error)
        return None


class _Progress:
    """A log line every few seconds: done, total, images/s, time left."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._start_s = self._logged_s = time.monotonic()

    def advance(self, images: int) -> None:
        self._done += images
        now_s = time.monotonic()
        if now_s - self._logged_s < _PROGRESS_S and self._done < self._total:
            return
        self._logged_s = now_s
        rate = self._done / max(now_s - self._start_s, 1e-9)
        left_s = (self._total - self._done) / rate
        log.info("features: %d of %d images, %.1f images/s, %.0f s left", self._done, self._total, rate, left_s)
