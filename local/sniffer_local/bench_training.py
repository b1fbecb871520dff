"""The training path's speed: feature extraction against the model alone, and the head on 10,000 cached features."""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sniffer.core.model_records import IMAGE_SHAPE
from sniffer.core.settings import ImageSettings
from sniffer_local.figure import Figure
from sniffer_local.samples.__main__ import write_labelled
from sniffer_model.data.manifest import ManifestEntry, Split
from sniffer_model.data.source import LocalSource
from sniffer_model.training.backbone import FEATURES, Backbone, build_backbone
from sniffer_model.training.features import FeatureCache, LabelledFeatures, extract, labelled_features
from sniffer_model.training.head import HeadOptions, train_head

IMAGES = 160
ROUNDS = 3
HEAD_IMAGES = 10_000
VALIDATION_SHARE = 0.15


def measure_training(folder: Path) -> list[Figure]:
    """Both figures; images, features and checkpoints go below the folder."""
    backbone = build_backbone("random")
    write_labelled(folder / "images", 5, IMAGES, 2)
    entries = _entries(folder / "images")
    _alone(backbone, 32)  # warms up
    ratios = [_extraction_ratio(entries, backbone, folder, turn) for turn in range(ROUNDS)]
    return [
        Figure("feature extraction / the model's own predict", statistics.median(ratios), 0.90),
        Figure("training the head on 10,000 features", _head_s(folder), 20.0, False, "s"),
    ]


def _entries(images: Path) -> list[ManifestEntry]:
    files = sorted(path for path in (images / "labels").rglob("*") if path.is_file())
    return [_entry(path, images) for path in files]


def _entry(path: Path, images: Path) -> ManifestEntry:
    key = path.relative_to(images).as_posix()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return ManifestEntry(key=key, content_sha256=digest, label=path.parent.name, slice="", split=Split.TRAIN)


def _extraction_ratio(entries: list[ManifestEntry], backbone: Backbone, folder: Path, turn: int) -> float:
    """Images/s from files to kept features ÷ images/s of the network alone, measured one after the other."""
    cache, source = FeatureCache(folder / f"features-{turn}", backbone.digest), LocalSource(folder / "images")
    alone_s = _alone(backbone, IMAGES)
    return alone_s / _seconds(lambda: labelled_features(entries, source, backbone, cache, ImageSettings()))


def _alone(backbone: Backbone, images: int) -> float:
    """Seconds that the network needs for as many images that are decoded already."""
    pixels = np.random.default_rng(0).integers(0, 256, (images, *IMAGE_SHAPE), np.uint8)
    named = [(str(number), image) for number, image in enumerate(pixels)]
    return _seconds(lambda: [None for _ in extract(named, backbone.network)])


def _head_s(folder: Path) -> float:
    train, validation = (_features(round(HEAD_IMAGES * share)) for share in (1 - VALIDATION_SHARE, VALIDATION_SHARE))
    return _seconds(lambda: train_head(train, validation, HeadOptions(), folder / "head.checkpoint.npz"))


def _features(count: int) -> LabelledFeatures:
    """Like a backbone's: never negative, with classes that overlap."""
    rng = np.random.default_rng(count)
    features = np.abs(rng.standard_normal((count, FEATURES), np.float32))
    noisy = features[:, :200].mean(axis=1) + rng.normal(0, 0.02, count)
    return LabelledFeatures((), features, noisy > np.median(noisy), 0)


def _seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began
