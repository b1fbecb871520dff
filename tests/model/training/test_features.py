"""Features: computed once per content, whatever happens to files, runs and cache."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from support.training import Run

from sniffer.adapters.images.render import decode
from sniffer.adapters.s3.fetching import StoredObject
from sniffer.core.settings import ImageSettings
from sniffer_model.data.manifest import LabelledSet, ManifestEntry, read_manifest
from sniffer_model.data.source import LocalSource
from sniffer_model.training import train
from sniffer_model.training.backbone import FEATURES, Backbone, load_backbone, save_backbone
from sniffer_model.training.features import FeatureCache, labelled_features
from sniffer_model.workdir import Workdir

LIMITS = ImageSettings()


class NoSource:
    """A source that must not be asked."""

    location = "nowhere"
    readers = 1

    def labelled(self) -> LabelledSet:
        raise AssertionError

    def why_gone(self, keys: Sequence[str]) -> str | None:
        raise AssertionError(keys)

    def read(self, key: str) -> bytes:
        raise AssertionError(key)

    def read_stored(self, key: str) -> StoredObject:
        raise AssertionError(key)


@pytest.fixture(scope="module")
def backbone(trained_run: Run) -> Backbone:
    return load_backbone(trained_run.workdir.backbone_weights, "file of a test")


@pytest.fixture(scope="module")
def entries(trained_run: Run) -> list[ManifestEntry]:
    return list(read_manifest(trained_run.workdir.manifest).entries[:6])


def test_features_are_those_of_the_decoded_image_in_the_entries_order(
    backbone: Backbone, entries: list[ManifestEntry], trained_run: Run, tmp_path: Path
) -> None:
    cache = FeatureCache(tmp_path, backbone.digest)
    found = labelled_features(entries[::-1], LocalSource(trained_run.images), backbone, cache, LIMITS)
    pixels = np.stack([decode((trained_run.images / entry.key).read_bytes()) for entry in entries[::-1]])
    np.testing.assert_allclose(found.features, backbone.network(pixels, training=False), rtol=1e-4, atol=1e-4)
    assert found.entries == tuple(entries[::-1])
    assert found.truth.tolist() == [entry.label == "drugs" for entry in entries[::-1]]


def test_known_features_need_neither_image_nor_backbone(trained_run: Run, entries: list[ManifestEntry]) -> None:
    manifest = read_manifest(trained_run.workdir.manifest)
    digest = json.loads(trained_run.workdir.training.read_text())["backbone_digest"]
    cache = FeatureCache(trained_run.feature_cache, digest)
    found = labelled_features(manifest.entries, NoSource(), Backbone(None, "none", digest), cache, LIMITS)
    assert len(found.entries) == len(manifest.entries)
    assert found.left_out == 0


def test_copies_of_one_image_are_computed_once(
    backbone: Backbone, entries: list[ManifestEntry], trained_run: Run, tmp_path: Path
) -> None:
    copies = [dataclasses.replace(entries[0], key="labels/drugs/gone.jpg"), entries[0], entries[0]]
    folder = tmp_path / "cache"
    labelled_features(copies[1:], LocalSource(trained_run.images), backbone, FeatureCache(folder, "b"), LIMITS)
    found = labelled_features(copies, NoSource(), backbone, FeatureCache(folder, "b"), LIMITS)
    assert found.features.shape == (3, FEATURES)
    assert (found.features[0] == found.features[2]).all()


def test_images_that_are_gone_changed_or_cut_are_left_out_and_the_rest_goes_on(
    backbone: Backbone,
    entries: list[ManifestEntry],
    trained_run: Run,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gone, changed, cut, *whole = entries
    for entry in entries:
        (tmp_path / entry.key).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(trained_run.images / entry.key, tmp_path / entry.key)
    (tmp_path / gone.key).unlink()
    shutil.copy(tmp_path / whole[0].key, tmp_path / changed.key)
    (tmp_path / cut.key).write_bytes((tmp_path / cut.key).read_bytes()[:500])
    with caplog.at_level(logging.WARNING):
        found = labelled_features(entries, LocalSource(tmp_path), backbone, FeatureCache(tmp_path, "b"), LIMITS)
    assert found.entries == tuple(whole)
    assert found.left_out == 3
    assert all(entry.key in caplog.text for entry in (gone, changed, cut))


def some_features(count: int) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float32]]]:
    rng = np.random.default_rng(count)
    return {f"{number:064x}": rng.random(FEATURES, dtype=np.float32) for number in range(count)}


def test_a_cache_gives_back_what_was_put_in_over_several_writes(tmp_path: Path) -> None:
    # Contents that end in a zero byte too: they are bytes, not text.
    features = some_features(5) | {"ab" * 31 + "00": np.ones(FEATURES, np.float32)}
    for content, values in features.items():
        FeatureCache(tmp_path, "b").add({content: values})
    known = FeatureCache(tmp_path, "b").load([*features, "f" * 64])
    assert known.keys() == features.keys()
    assert all((known[content] == features[content]).all() for content in features)


def test_another_backbone_or_preprocessing_shares_nothing(tmp_path: Path) -> None:
    features = some_features(2)
    FeatureCache(tmp_path, "b" * 64, "1").add(features)
    assert FeatureCache(tmp_path, "c" * 64, "1").load(features) == {}
    assert FeatureCache(tmp_path, "b" * 64, "2").load(features) == {}


def test_an_interrupted_write_does_not_spoil_the_cache(tmp_path: Path) -> None:
    features = some_features(2)
    FeatureCache(tmp_path, "b").add(features)
    written = next(tmp_path.rglob("*.npy"))
    left = written.with_name(f".shard-{0:032x}")
    left.write_bytes(written.read_bytes()[:100])
    assert FeatureCache(tmp_path, "b").load(features).keys() == features.keys()
    FeatureCache(tmp_path, "b").add(some_features(1))
    assert not left.exists()


def test_a_cache_that_cannot_be_written_is_a_clear_error(
    trained_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    shutil.copytree(trained_run.workdir.path, tmp_path / "run")
    flags = ["--workdir", str(tmp_path / "run"), "--feature-cache", str(tmp_path / "file")]
    weights = str(trained_run.workdir.backbone_weights)
    assert train.main([*flags, "--backbone-weights", weights]) == 2
    assert "cannot write to the feature cache" in capsys.readouterr().err


def test_a_weights_file_keeps_the_digest(backbone: Backbone, tmp_path: Path, trained_run: Run) -> None:
    save_backbone(backbone, tmp_path / "saved.weights.h5")
    assert load_backbone(tmp_path / "saved.weights.h5", "x").digest == backbone.digest
    training = json.loads(Workdir(trained_run.workdir.path).training.read_text())
    assert backbone.digest == training["backbone_digest"]


def test_kernels_of_the_random_backbone_are_orthonormal(backbone: Backbone) -> None:
    [_, resnet] = backbone.network.layers
    kernels = [layer.kernel.numpy() for layer in resnet.layers if hasattr(layer, "kernel")]
    flat = [kernel[0, 0] for kernel in kernels if kernel.shape[0] == 1]
    assert len(flat) == 36
    for kernel in flat:
        tall = kernel if kernel.shape[0] >= kernel.shape[1] else kernel.T
        assert np.abs(tall.T @ tall - np.eye(tall.shape[1])).max() < 1e-5
