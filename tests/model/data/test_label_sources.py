"""Labels as people and programs leave them: folders with other things in them, Spark's folders, wrong keys and rows."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import csv, parquet
from support.scratch_bucket import ScratchBucket

from sniffer.core.errors import SettingsError
from sniffer.core.model_records import LABELS
from sniffer_model.data import count_labels, snapshot
from sniffer_model.data.label_folders import is_no_image
from sniffer_model.data.manifest import Manifest, read_manifest
from sniffer_model.data.source import open_source

IMAGES = 24
NO_IMAGES = (
    ".DS_Store",
    "._photo.jpg",
    "Thumbs.db",
    "desktop.ini",
    "README",
    "README.md",
    "LICENSE.txt",
    "__MACOSX/labels/drugs/._pill-1.jpg",
    ".ipynb_checkpoints/pill-1.jpg",
    "@eaDir/pill-1.jpg",
    "_SUCCESS",
)


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def name_of(number: int) -> str:
    return f"{LABELS[number % 2]}/kind-{number:03}.png"


def fill(root: Path, count: int = IMAGES) -> None:
    for number in range(count):
        path = root / name_of(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))


def run(source: str | Path, workdir: Path, *flags: str) -> int:
    return snapshot.main(["--source", str(source), "--workdir", str(workdir), *flags])


def taken(source: str | Path, workdir: Path, *flags: str) -> Manifest:
    assert run(source, workdir, *flags) == 0
    return read_manifest(workdir / "manifest.json")


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sniffer model snapshot: ")]
    return line


@pytest.mark.parametrize("root", ["labels", ""])
@pytest.mark.parametrize("in_s3", [False, True])
def test_what_is_no_image_is_skipped_counted_and_named(
    root: str, in_s3: bool, bucket: ScratchBucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images"
    fill(images / root)
    beside = [f"{folder}{name}" for folder in ("", "drugs/", "other/deep/") for name in NO_IMAGES]
    for name in beside:
        (images / root / name).parent.mkdir(parents=True, exist_ok=True)
        (images / root / name).write_bytes(b"not an image")
    skipped = len(beside)
    source = str(images)
    if in_s3:
        for path in images.rglob("*"):
            if path.is_file():
                bucket.put(f"set/{path.relative_to(images).as_posix()}", path.read_bytes())
        for marker in ("drugs/", "other_$folder$", "drugs/more/"):
            bucket.put("/".join(filter(None, ("set", root, marker))), b"")
        source, skipped = f"s3://{bucket.name}/set", skipped + 3
    manifest = taken(source, tmp_path / "work")
    assert len(manifest.entries) == IMAGES and not manifest.excluded
    assert len(manifest.skipped) == skipped
    captured = capsys.readouterr()
    assert json.loads(captured.out)["skipped"] == skipped
    assert f"skipped {skipped} files that are no images, such as " in captured.err
    flags = ["--source", source, "--lineage", str(tmp_path / "work/manifest.json")]
    assert count_labels.main(flags) == 0
    assert json.loads(capsys.readouterr().out) == {"labelled": IMAGES, "new": 0}


@pytest.mark.parametrize(
    "name", ["labels/drugs/readme-0001.jpg", "labels/other/macosx.png", "drugs/success.jpg", "drugs/a b.c"]
)
def test_a_picture_is_not_taken_for_something_else(name: str) -> None:
    assert not is_no_image(name)


def test_folders_of_classes_without_labels_above_are_the_same_data(tmp_path: Path) -> None:
    fill(tmp_path / "plain")
    fill(tmp_path / "usual/labels")
    plain, usual = (taken(tmp_path / name, tmp_path / f"work-{name}") for name in ("plain", "usual"))
    assert [f"labels/{entry.key}" for entry in plain.entries] == [entry.key for entry in usual.entries]
    assert [entry.split for entry in plain.entries] == [entry.split for entry in usual.entries]


@pytest.mark.parametrize(
    ("stray", "message"),
    [
        ("weapons/gun-1.png", "weapons/ in .* is not a class of this model"),
        ("Drugs/pill-1.png", "Drugs/ in .* is not a class of this model"),
        ("pill-1.png", "pill-1.png in .* belongs to no class"),
    ],
)
@pytest.mark.parametrize("in_s3", [False, True])
def test_another_folder_or_a_loose_image_beside_the_classes_is_refused(
    stray: str, message: str, in_s3: bool, bucket: ScratchBucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "images", 4)
    path = tmp_path / "images" / stray
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(png(99))
    if in_s3:
        for path in (tmp_path / "images").rglob("*.png"):
            bucket.put(path.relative_to(tmp_path / "images").as_posix(), path.read_bytes())
    source = f"s3://{bucket.name}" if in_s3 else tmp_path / "images"
    assert run(source, tmp_path / "work") == 2
    assert re.search(message, complaint(capsys))


def put_all(bucket: ScratchBucket, prefix: str = "up/", count: int = IMAGES) -> list[str]:
    """Images in S3 under that prefix; their keys."""
    keys = [f"{prefix}{name_of(number)}" for number in range(count)]
    for number, key in enumerate(keys):
        bucket.put(key, png(number))
    return keys


def table(bucket: ScratchBucket, keys: Sequence[str]) -> pa.Table:
    labels = [LABELS[number % 2] for number in range(len(keys))]
    return pa.table({"bucket": [bucket.name] * len(keys), "key": list(keys), "label": labels})


def write_parts(rows: pa.Table, folder: Path, suffix: str) -> None:
    """What Spark leaves: parts, their checksums, and a mark."""
    folder.mkdir()
    for part in range(3):
        file = folder / f"part-0000{part}-4f2c.{suffix}"
        some = rows.slice(8 * part, 8)
        if suffix == "csv":
            csv.write_csv(some, file)
        else:
            parquet.write_table(some, file)
        (folder / f".{file.name}.crc").write_bytes(b"crc")
    (folder / "_SUCCESS").touch()


@pytest.mark.sampled(3)
@pytest.mark.parametrize("suffix", ["snappy.parquet", "csv"])
@pytest.mark.parametrize("folder", ["labels", "labels.parquet"])
@pytest.mark.parametrize("in_s3", [False, True])
def test_a_folder_of_sparks_is_one_table(
    suffix: str, folder: str, in_s3: bool, bucket: ScratchBucket, tmp_path: Path
) -> None:
    keys = put_all(bucket)
    write_parts(table(bucket, keys), tmp_path / folder, suffix)
    source = str(tmp_path / folder)
    if in_s3:
        for path in (tmp_path / folder).iterdir():
            bucket.put(f"tables/{folder}/{path.name}", path.read_bytes())
        source = f"s3://{bucket.name}/tables/{folder}"
    manifest = taken(source, tmp_path / "work")
    assert sorted(entry.key for entry in manifest.entries) == sorted(f"s3://{bucket.name}/{key}" for key in keys)
    # What reads the images later needs no table.
    for path in (tmp_path / folder).iterdir():
        path.unlink()
        bucket.delete(f"tables/{folder}/{path.name}")
    assert open_source(manifest.source).read(f"s3://{bucket.name}/{keys[3]}") == png(3)


def test_columns_that_folders_name_are_columns(bucket: ScratchBucket, tmp_path: Path) -> None:
    keys = put_all(bucket)
    for label in LABELS:
        own = table(bucket, keys).filter(pa.compute.equal(table(bucket, keys)["label"], label)).drop_columns("label")
        folder = tmp_path / f"labels/label={quote(label)}"
        folder.mkdir(parents=True)
        parquet.write_table(own, folder / "part-0.parquet")
    (tmp_path / "labels/_SUCCESS").touch()
    manifest = taken(tmp_path / "labels", tmp_path / "work")
    assert {entry.key: entry.label for entry in manifest.entries} == {
        f"s3://{bucket.name}/{key}": LABELS[number % 2] for number, key in enumerate(keys)
    }


def test_a_folder_that_spark_has_not_finished_is_refused(
    bucket: ScratchBucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_parts(table(bucket, put_all(bucket)), tmp_path / "labels", "parquet")
    (tmp_path / "labels/_temporary/0").mkdir(parents=True)
    assert run(tmp_path / "labels", tmp_path / "work") == 2
    assert "holds _temporary: the job that writes it is not done, or failed" in complaint(capsys)


def test_a_wrong_row_of_a_part_is_named_with_its_part(
    bucket: ScratchBucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_parts(table(bucket, put_all(bucket)), tmp_path / "labels", "csv")
    (tmp_path / "labels/part-00001-4f2c.csv").write_text("bucket,key,label\nb,k,weapons\n")
    assert run(tmp_path / "labels", tmp_path / "work") == 2
    assert "1 of 17 rows of" in (told := complaint(capsys))
    assert "line 2 of part-00001-4f2c.csv: 'weapons' is not a class" in told


def test_every_wrong_row_up_to_twenty_is_named_with_its_line(
    bucket: ScratchBucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{bucket.name},up/{number}.png,{'weapons' if number % 2 else 'drugs'}" for number in range(60)]
    rows[4] = f"{bucket.name},,"
    (tmp_path / "labels.csv").write_text("\n".join(["bucket,key,label", *rows]))
    assert run(tmp_path / "labels.csv", tmp_path / "work") == 2
    told = complaint(capsys)
    assert "31 of 60 rows of" in told
    assert re.findall(r"line (\d+):", told) == [str(n) for n in sorted([6, *range(3, 40, 2)])][:20]
    assert "line 6: it has no key and no label" in told
    assert told.endswith("; … and 11 more")


CAUSES: dict[str, tuple[Callable[[str, str], str], str]] = {
    "prefix": (lambda key, _: key.removeprefix("up/"), "the keys lack the prefix 'up/'"),
    "slash": (lambda key, _: f"/{key}", "the keys begin with a `/`: the bucket holds 'up/"),
    "address": (lambda key, bucket: f"s3://{bucket}/{key}", "the keys are whole addresses"),
    "bucket": (lambda key, bucket: f"{bucket}/{key}", "the keys begin with the bucket's name"),
    "encoded": (lambda key, _: quote(key, safe=""), "the keys are URL-encoded"),
    "spaces": (lambda key, _: f"{key} ", "the keys begin or end with spaces"),
    "folders": (lambda key, _: f"exports/2026/{key}", "the keys have two folders too much in front: the bucket holds"),
    "capitals": (lambda key, _: key.upper(), "the keys have other capitals: the bucket holds 'up/drugs/"),
    "backslashes": (lambda key, _: key.replace("/", "\\"), "the keys have backslashes"),
    "anything": (lambda key, _: f"{key}.old", "the bucket's first key is 'up/drugs/"),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("share", [1.0, 0.5])
@pytest.mark.parametrize(("damage", "cause"), CAUSES.values(), ids=CAUSES)
def test_many_wrong_keys_fail_the_snapshot_and_the_likely_cause_is_named(
    damage: Callable[[str, str], str],
    cause: str,
    share: float,
    bucket: ScratchBucket,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keys = put_all(bucket)
    wrong = int(share * len(keys))
    damaged = [damage(key, bucket.name) if n < wrong else key for n, key in enumerate(keys)]
    csv.write_csv(table(bucket, damaged), tmp_path / "labels.csv")
    assert run(tmp_path / "labels.csv", tmp_path / "work") == 2
    told = complaint(capsys)
    assert f"{wrong} of {IMAGES} labels in" in told and f"({wrong} gone)" in told
    assert cause in told
    assert not (tmp_path / "work").exists()


def test_many_unreadable_files_fail_the_snapshot_unless_the_budget_allows_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "images", 40)
    for number in range(5):
        (tmp_path / f"images/drugs/page-{number}.jpg").write_text(f"<html>{number}")
    assert run(tmp_path / "images", tmp_path / "work") == 2
    told = complaint(capsys)
    assert "5 of 45 labels in" in told and "more than the budget of 10% (5 not_an_image)" in told
    assert "drugs/page-0.jpg" in told
    assert len(taken(tmp_path / "images", tmp_path / "work", "--left-out-budget", "0.2").entries) == 40
    assert run(tmp_path / "images", tmp_path / "other", "--left-out-budget", "1.5") == 2


def test_many_contradictory_labels_fail_the_snapshot_and_name_their_lines(
    bucket: ScratchBucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = put_all(bucket)
    labels = [LABELS[n % 2] for n in range(IMAGES)] + [LABELS[1 - n % 2] for n in range(6)]
    rows = pa.table({"bucket": [bucket.name] * len(labels), "key": [*keys, *keys[:6]], "label": labels})
    csv.write_csv(rows, tmp_path / "labels.csv")
    assert run(tmp_path / "labels.csv", tmp_path / "work") == 2
    told = complaint(capsys)
    assert "6 of 24 labels in" in told and "(6 conflicting_label)" in told
    assert "it has two labels: other (line 2), drugs (line 26)" in told


def test_linked_folders_and_files_are_read_like_others(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere")
    (tmp_path / "images").mkdir()
    for label in LABELS:
        (tmp_path / "images" / label).symlink_to(tmp_path / "elsewhere" / label)
    (tmp_path / "elsewhere/drugs/hard-001.png").hardlink_to(tmp_path / "elsewhere" / name_of(0))
    (tmp_path / "elsewhere/drugs/soft-001.png").symlink_to(tmp_path / "elsewhere" / name_of(2))
    keys = [image.key for image in open_source(str(tmp_path / "images")).labelled().images]
    assert keys == sorted([*map(name_of, range(IMAGES)), "drugs/hard-001.png", "drugs/soft-001.png"])


@pytest.mark.parametrize("link", ["labels/drugs/again", "labels/again"])
def test_a_link_that_leads_back_is_refused_and_named(
    link: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "images/labels", 4)
    (tmp_path / "images" / link).symlink_to(tmp_path / "images/labels")
    assert run(tmp_path / "images", tmp_path / "work") == 2
    assert f"{link} is a link to a folder that it lies in: remove the link" in complaint(capsys)


def test_links_that_lead_to_each_other_are_refused_too(tmp_path: Path) -> None:
    for folder, other in (("drugs", "other"), ("other", "drugs")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "more").symlink_to(tmp_path / other)
    with pytest.raises(SettingsError, match="more/more is a link to a folder that it lies in: remove the link"):
        open_source(str(tmp_path)).labelled()


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (" b ,k,drugs,", "' b ' is not a bucket name"),
        ("s3://b,k,drugs,", "'s3://b' is not a bucket name"),
        ("b\x1b[31m,k,drugs,", r"'b\x1b[31m' is not a bucket name"),
        ("b,k,Drugs,", "'Drugs' is not a class of this model: use other or drugs"),
        ("b,k,drugs\u200b,", r"'drugs\u200b' is not a class of this model"),
        ("b,k,drugs,20.11.2026", "'20.11.2026' is no date: write it as 2026-11-20"),
        ("b,k,drugs,9999-12-31T23:59:59-10:00", "'9999-12-31T23:59:59-10:00' is no date"),
        ("b,k,drugs,0001-01-01T00:00:00+10:00", "'0001-01-01T00:00:00+10:00' is no date"),
        *(
            (f"b,k,drugs,,sample,{wrong}", f"'{wrong}' is no probability")
            for wrong in ("0", "1.5", "-1", "nan", "many")
        ),
    ],
)
def test_a_value_that_cannot_be_is_named_with_its_line(row: str, problem: str, tmp_path: Path) -> None:
    row += "," * (5 - row.count(","))
    header = "bucket,key,label,date,entered_by,probability"
    (tmp_path / "labels.csv").write_text(f"{header}\nb,a,other,  2026-11-20 ,,\n{row}\n")
    with pytest.raises(SettingsError) as refused:
        open_source(str(tmp_path / "labels.csv")).labelled()
    assert f"1 of 2 rows of {tmp_path}/labels.csv are wrong: line 3: {problem}" in str(refused.value)


def test_a_buckets_root_may_hold_the_parts_of_a_table(bucket: ScratchBucket, tmp_path: Path) -> None:
    source = f"s3://{bucket.name}/part-*"
    with pytest.raises(SettingsError, match=rf"there is no object in s3://{bucket.name}: it is no table"):
        open_source(source).labelled()
    keys = put_all(bucket)
    for part in range(2):
        csv.write_csv(table(bucket, keys[part::2]), tmp_path / "part.csv")
        bucket.put(f"part-{part}.csv", (tmp_path / "part.csv").read_bytes())
    assert {image.key for image in open_source(source).labelled().images} == {f"s3://{bucket.name}/{k}" for k in keys}


def test_a_row_of_the_review_says_with_what_chance_its_image_was_labelled(
    bucket: ScratchBucket, tmp_path: Path
) -> None:
    keys = put_all(bucket)
    usual = table(bucket, keys)
    chances = [0.25 if number % 3 == 0 else 1.0 for number in range(len(keys))]
    reviewed = usual.append_column("probability", pa.array(chances))
    of_somebody_else, by_review = tmp_path / "scores.csv", tmp_path / "review.csv"
    csv.write_csv(reviewed, of_somebody_else)
    csv.write_csv(reviewed.append_column("entered_by", pa.array(["sample"] * len(keys))), by_review)
    csv.write_csv(usual, tmp_path / "usual.csv")
    found = {
        name: {
            image.key.partition("/")[2]: image.chance for image in open_source(str(tmp_path / name)).labelled().images
        }
        for name in ("review.csv", "scores.csv", "usual.csv")
    }
    wanted = dict(zip((f"/{bucket.name}/{key}" for key in keys), chances, strict=True))
    assert found["review.csv"] == wanted
    assert found["scores.csv"] == found["usual.csv"] == dict.fromkeys(wanted, 1.0), "a model's score is no chance"
    manifests = {}
    for name in found:
        assert run(tmp_path / name, tmp_path / f"work-{name}") == 0
        manifests[name] = read_manifest(tmp_path / f"work-{name}" / "manifest.json")
    assert {e.key.partition("/")[2]: e.chance for e in manifests["review.csv"].entries} == wanted
    assert manifests["usual.csv"].digest() == manifests["scores.csv"].digest() != manifests["review.csv"].digest()
