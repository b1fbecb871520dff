"""The snapshot: what is frozen, what is left out, and which images stand on which side of the split."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from sniffer.core.errors import ContractError
from sniffer.core.settings import ImageSettings
from sniffer_local.samples.generate import labelled_images
from sniffer_model.data import count_labels, snapshot
from sniffer_model.data.manifest import Manifest, Split, SplitFractions, read_manifest, write_manifest
from sniffer_model.data.snapshot import take_snapshot
from sniffer_model.data.source import open_source


def save_image(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def save_images(root: Path, label: str, seeds: Iterable[int]) -> None:
    for seed in seeds:
        save_image(root / "labels" / label / f"kind-{seed % 3}-{seed:04d}.png", seed)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """40 images of each class."""
    root = tmp_path / "images"
    save_images(root, "drugs", range(40))
    save_images(root, "other", range(1000, 1040))
    return root


def snapshot_of(root: Path, previous: Manifest | None = None) -> Manifest:
    return take_snapshot(open_source(str(root)), SplitFractions(), ImageSettings(), previous)


def test_the_same_files_give_the_same_digest_wherever_they_lie(labelled: Path) -> None:
    first = snapshot_of(labelled)
    moved = labelled.rename(labelled.with_name("moved"))
    assert snapshot_of(moved).digest() == first.digest()


def test_any_change_to_an_image_changes_the_digest(labelled: Path) -> None:
    first = snapshot_of(labelled)
    save_image(labelled / "labels/drugs/kind-0-0000.png", 5000)
    assert snapshot_of(labelled).digest() != first.digest()


def test_entries_name_label_slice_and_a_split_with_both_classes(labelled: Path) -> None:
    manifest = snapshot_of(labelled)
    assert len(manifest.entries) == 80
    assert {(entry.key.split("/")[1], entry.label) for entry in manifest.entries} == {
        ("drugs", "drugs"),
        ("other", "other"),
    }
    assert {entry.slice for entry in manifest.entries} == {"kind-0", "kind-1", "kind-2"}
    assert all(count for sizes in manifest.sizes().values() for count in sizes.values())


def test_added_images_move_no_other_image_to_another_split(labelled: Path) -> None:
    first = snapshot_of(labelled)
    before = {entry.key: entry.split for entry in first.entries}
    save_images(labelled, "drugs", range(100, 130))
    second = snapshot_of(labelled, first)
    after = {entry.key: entry.split for entry in second.entries}
    assert len(after) == 110
    assert before.items() <= after.items()
    assert {split: sizes["drugs"] for split, sizes in second.sizes().items()} == {
        "train": 42,
        "validation": 14,
        "test": 14,
    }


def test_each_class_has_its_share_of_every_split(labelled: Path) -> None:
    save_images(labelled, "drugs", range(100, 107))
    assert snapshot_of(labelled).sizes() == {
        "train": {"other": 24, "drugs": 28},
        "validation": {"other": 8, "drugs": 9},
        "test": {"other": 8, "drugs": 10},
    }


def test_copies_never_straddle_the_split(labelled: Path) -> None:
    for path in sorted((labelled / "labels/drugs").iterdir()):
        path.with_name(f"copy-of-{path.name}").write_bytes(path.read_bytes())
    splits: dict[str, set[Split]] = {}
    for entry in snapshot_of(labelled).entries:
        splits.setdefault(entry.content_sha256, set()).add(entry.split)
    assert len(splits) == 80
    assert all(len(found) == 1 for found in splits.values())


def test_unreadable_files_are_reported_and_left_out(labelled: Path) -> None:
    whole = save_image(labelled / "labels/drugs/whole-0001.png", 7000)
    (labelled / "labels/drugs/cut-0001.png").write_bytes(whole.read_bytes()[:60])
    (labelled / "labels/other/empty-0001.jpg").touch()
    (labelled / "labels/other/page-0001.jpg").write_text("<html>not found</html>")
    (labelled / "labels/other/dangling-0001.jpg").symlink_to("nowhere")
    manifest = snapshot_of(labelled)
    assert len(manifest.entries) == 81
    assert {(exclusion.key, exclusion.code) for exclusion in manifest.excluded} == {
        ("labels/drugs/cut-0001.png", "truncated"),
        ("labels/other/empty-0001.jpg", "empty"),
        ("labels/other/page-0001.jpg", "not_an_image"),
        ("labels/other/dangling-0001.jpg", "gone"),
    }


def test_the_same_bytes_under_two_classes_are_left_out_of_both(labelled: Path) -> None:
    original = labelled / "labels/drugs/kind-0-0000.png"
    (labelled / "labels/other/again-0001.png").write_bytes(original.read_bytes())
    manifest = snapshot_of(labelled)
    assert {(exclusion.key, exclusion.code) for exclusion in manifest.excluded} == {
        ("labels/drugs/kind-0-0000.png", "conflicting_label"),
        ("labels/other/again-0001.png", "conflicting_label"),
    }
    assert len(manifest.entries) == 79


def test_changed_copies_of_generated_images_are_never_on_the_other_side(tmp_path: Path) -> None:
    for number, image in enumerate(labelled_images(8, 40)):
        path = tmp_path / f"labels/{image.label}/{image.slice}-{number:04}{image.suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image.data)
        picture = ImageOps.exif_transpose(Image.open(path)).convert("RGBA")
        small = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
        small.thumbnail((300, 300))
        small.save(path.with_name(f"again-{number:04}.jpg"), quality=60)
    entries = snapshot_of(tmp_path).entries
    assert len(entries) == 80
    by_number: dict[str, set[Split]] = {}
    for entry in entries:
        by_number.setdefault(re.findall(r"\d{4}", entry.key)[0], set()).add(entry.split)
    assert all(len(splits) == 1 for splits in by_number.values())
    assert {split for splits in by_number.values() for split in splits} == set(Split)


def test_files_have_the_etag_that_s3_would_give_them(labelled: Path) -> None:
    entry = snapshot_of(labelled).entries[0]
    assert entry.etag == hashlib.md5((labelled / entry.key).read_bytes()).hexdigest()


def test_more_readers_than_images_and_a_window_of_one_give_the_same(
    labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot_of(labelled)
    for ahead in (1, 1000):
        monkeypatch.setattr(snapshot, "_AHEAD_OF_EACH_READER", ahead)
        assert snapshot_of(labelled) == before


def test_small_classes_and_slices_are_kept_and_named(labelled: Path) -> None:
    save_image(labelled / "labels/drugs/rare-0001.png", 9000)
    manifest = snapshot_of(labelled)
    assert "rare" in {entry.slice for entry in manifest.entries}
    sentences = "; ".join(snapshot.small_parts(manifest))
    assert re.search(r"only \d+ images of the class 'drugs' in the test split", sentences)
    assert re.search(r"only [01] of 1 images of the slice 'rare' in the test split", sentences)


@given(st.floats(0.05, 0.45), st.floats(0.05, 0.45), st.integers(3, 400))
def test_one_by_one_every_split_gets_its_share(validation: float, test: float, count: int) -> None:
    fractions, sizes = SplitFractions(validation, test), Counter[Split]()
    for _ in range(count):
        sizes[fractions.next_split(sizes)] += 1
    assert min(sizes[split] for split in Split) > 0
    for split, share in {Split.VALIDATION: validation, Split.TEST: test}.items():
        assert abs(sizes[split] - share * count) <= 1.01


def test_a_manifest_reads_back_as_written(labelled: Path, tmp_path: Path) -> None:
    (labelled / "labels/other/empty-0001.jpg").touch()
    manifest = snapshot_of(labelled)
    write_manifest(manifest, tmp_path / "manifest.json")
    assert read_manifest(tmp_path / "manifest.json") == manifest


def test_an_altered_manifest_is_refused(labelled: Path, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    write_manifest(snapshot_of(labelled), path)
    document = json.loads(path.read_text())
    document["entries"][0]["label"] = "other"
    path.write_text(json.dumps(document))
    with pytest.raises(ContractError, match="altered"):
        read_manifest(path)


def run(root: Path, workdir: Path, *flags: str) -> int:
    return snapshot.main(["--source", str(root), "--workdir", str(workdir), *flags])


def test_the_program_prints_the_digest_and_can_be_rerun(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert run(labelled, tmp_path / "work") == 0
        printed = json.loads(capsys.readouterr().out)
        assert printed["manifest_digest"] == read_manifest(tmp_path / "work/manifest.json").digest()


def test_a_workdir_keeps_its_manifest_when_the_images_have_changed(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(labelled, tmp_path / "work")
    before = (tmp_path / "work/manifest.json").read_bytes()
    save_images(labelled, "other", [2000])
    assert run(labelled, tmp_path / "work") == 2
    assert "use a new --workdir" in capsys.readouterr().err
    assert (tmp_path / "work/manifest.json").read_bytes() == before


def test_with_the_previous_manifest_every_image_keeps_its_split(labelled: Path, tmp_path: Path) -> None:
    assert run(labelled, tmp_path / "one") == 0
    first = read_manifest(tmp_path / "one/manifest.json")
    gone = first.of(Split.TEST)[0]
    copy = (labelled / gone.key).rename(labelled / "labels" / gone.label / "moved-0001.png")
    Image.open(copy).resize((16, 16), Image.Resampling.BILINEAR).save(copy)
    save_images(labelled, "drugs", range(100, 130))
    other_fractions = ("--test-fraction", "0.5", "--previous", str(tmp_path / "one/manifest.json"))
    assert run(labelled, tmp_path / "two", *other_fractions) == 0
    second = read_manifest(tmp_path / "two/manifest.json")
    splits = {entry.key: entry.split for entry in second.entries}
    assert len(splits) == 110
    assert {e.key: e.split for e in first.entries if e is not gone}.items() <= splits.items()
    assert splits[f"labels/{gone.label}/moved-0001.png"] is Split.TEST
    assert [image.content_sha256 for image in second.dropped] == [gone.content_sha256]


def test_a_lineage_is_begun_followed_and_left_alone_by_a_rerun(labelled: Path, tmp_path: Path) -> None:
    lineage = tmp_path / "lineage.json"
    for workdir in ("one", "one"):
        assert run(labelled, tmp_path / workdir, "--lineage", str(lineage)) == 0
        assert read_manifest(lineage) == read_manifest(tmp_path / "one/manifest.json")
    first = read_manifest(lineage)
    gone = first.of(Split.TEST)[0]
    (labelled / gone.key).unlink()
    assert run(labelled, tmp_path / "two", "--lineage", str(lineage)) == 0
    second = read_manifest(lineage)
    assert [image.content_sha256 for image in second.dropped] == [gone.content_sha256]
    lineage.write_text(lineage.read_text().replace('"dropped"', '"former"'))  # as earlier releases called it
    assert read_manifest(lineage) == second


def test_a_snapshot_that_fails_leaves_the_lineage_as_it_was(labelled: Path, tmp_path: Path) -> None:
    lineage = tmp_path / "lineage.json"
    run(labelled, tmp_path / "one", "--lineage", str(lineage))
    before = lineage.read_bytes()
    save_images(labelled, "other", [2000])
    assert run(labelled, tmp_path / "one", "--lineage", str(lineage)) == 2
    assert lineage.read_bytes() == before


def count(root: Path, lineage: Path, result: Path) -> dict[str, int]:
    flags = ["--source", str(root), "--lineage", str(lineage), "--result", str(result)]
    assert count_labels.main(flags) == 0
    found: dict[str, int] = json.loads(result.read_text())
    return found


def test_labels_are_new_until_a_snapshot_has_seen_them(labelled: Path, tmp_path: Path) -> None:
    lineage, result = tmp_path / "lineage.json", tmp_path / "result.json"
    total = sum(path.is_file() for path in labelled.rglob("*"))
    assert count(labelled, lineage, result) == {"labelled": total, "new": total}
    (labelled / "labels/drugs/broken-0001.jpg").write_text("<html>")
    run(labelled, tmp_path / "one", "--lineage", str(lineage))
    assert count(labelled, lineage, result) == {"labelled": total + 1, "new": 0}
    save_images(labelled, "drugs", [3000, 3001])
    assert count(labelled, lineage, result) == {"labelled": total + 3, "new": 2}


def test_labels_of_another_place_are_all_new(labelled: Path, tmp_path: Path) -> None:
    lineage = tmp_path / "lineage.json"
    run(labelled, tmp_path / "one", "--lineage", str(lineage))
    moved = labelled.rename(tmp_path / "moved")
    found = count(moved, lineage, tmp_path / "result.json")
    assert found["new"] == found["labelled"] > 0


def test_counting_what_is_not_there_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--source", str(tmp_path / "nowhere"), "--lineage", str(tmp_path / "lineage.json")]
    assert count_labels.main(flags) == 2
    assert "holds no folder labels/" in capsys.readouterr().err


def test_what_was_forgotten_once_is_remembered_by_every_later_manifest(labelled: Path) -> None:
    first = snapshot_of(labelled)
    (labelled / first.of(Split.TEST)[0].key).unlink()
    second = snapshot_of(labelled, first)
    third = snapshot_of(labelled, second)
    assert third == second
    assert len(third.dropped) == 1


@pytest.mark.parametrize(
    ("previous", "message"),
    [
        ("absent.json", "absent.json does not exist"),
        ("other_hash.json", "was split by 'dhash64-4'.* without --previous"),
        ("damaged.json", "damaged.json is of another form .*take a new snapshot"),
    ],
)
def test_a_previous_manifest_that_is_of_no_use_is_refused_and_nothing_is_written(
    previous: str, message: str, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_manifest(dataclasses.replace(snapshot_of(labelled), hash_name="dhash64-4"), tmp_path / "other_hash.json")
    (tmp_path / "damaged.json").write_text("{}")
    assert run(labelled, tmp_path / "work", "--previous", str(tmp_path / previous)) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "work").exists()


def make_nothing(root: Path) -> None:
    root.mkdir(exist_ok=True)


def make_no_labels(root: Path) -> None:
    (root / "labels/drugs").mkdir(parents=True)


def make_one_class(root: Path) -> None:
    save_images(root, "drugs", range(20))


def make_one_readable_class(root: Path) -> None:
    save_images(root, "drugs", range(20))
    (root / "labels/other").mkdir()
    (root / "labels/other/page-0001.jpg").write_text("<html>")


def make_unknown_class(root: Path) -> None:
    for label in ("drugs", "other", "weapons"):
        save_images(root, label, range(20))


def make_loose_image(root: Path) -> None:
    save_image(root / "labels/pill-0001.png", 1)


def make_tiny_class(root: Path) -> None:
    save_images(root, "drugs", range(20))
    save_images(root, "other", [1000])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_nothing, "holds no folder labels/"),
        (make_no_labels, "no labelled images"),
        (make_one_class, "no usable image of the class 'other'"),
        (make_one_readable_class, "no usable image of the class 'other' .1 files were left out"),
        (make_unknown_class, "labels/weapons/ .* is not a class"),
        (make_loose_image, "belongs to no class"),
        (make_tiny_class, "of 1 images of the class 'other' none is in the"),
    ],
)
def test_unusable_labels_are_one_clear_line_and_nothing_is_written(
    make: object, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(make)
    make(tmp_path / "images")
    assert run(tmp_path / "images", tmp_path / "work") == 2
    captured = capsys.readouterr()
    complaint = [line for line in captured.err.splitlines() if line.startswith("sniffer model snapshot: ")]
    assert len(complaint) == 1
    assert re.search(message, complaint[0])
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    "flags", [["--test-fraction", "0"], ["--test-fraction", "0.9"], ["--validation-fraction", "nan"]]
)
def test_senseless_fractions_are_refused(
    flags: list[str], labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(labelled, tmp_path / "work", *flags) == 2
    assert "fractions" in capsys.readouterr().err
