"""Labelled images in S3, under a prefix and by tables: what is frozen, and what a wrong or failing place ends in."""

from __future__ import annotations

import hashlib
import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import csv, parquet
from support.flaky_s3 import FlakyS3
from support.scratch_bucket import ScratchBucket

from sniffer.core.errors import SettingsError
from sniffer.core.model_records import LABELS
from sniffer_model.data import snapshot
from sniffer_model.data.manifest import Manifest, read_manifest
from sniffer_model.data.source import open_source

EACH_CLASS = 12
FRACTIONS = ("--validation-fraction", "0.3", "--test-fraction", "0.3")


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def key(number: int) -> str:
    """Keys that S3 clients mix up, among others."""
    return f"labels/{LABELS[number % 2]}/{('kind', 'a b%20', 'x//y')[number % 3]}-{number:03}.png"


def fill(bucket: ScratchBucket, prefix: str = "", count: int = 2 * EACH_CLASS) -> dict[str, str]:
    """Put images of both classes; their ETags by key below the prefix."""
    return {key(number): bucket.put(prefix + key(number), png(number)) for number in range(count)}


def run(source: str | Path, workdir: Path, *flags: str) -> int:
    return snapshot.main(["--source", str(source), "--workdir", str(workdir), *FRACTIONS, *flags])


def taken(source: str | Path, workdir: Path, *flags: str) -> Manifest:
    assert run(source, workdir, *flags) == 0
    return read_manifest(workdir / "manifest.json")


def table_of(bucket: ScratchBucket, **columns: list[Any]) -> pa.Table:
    numbers = range(2 * EACH_CLASS)
    usual = {
        "bucket": [bucket.name for _ in numbers],
        "key": [f"up/{key(n)}" for n in numbers],
        "label": [LABELS[n % 2] for n in numbers],
    }
    return pa.table(usual | columns)


def test_a_prefix_is_frozen_with_etags_and_its_images_can_be_read_again(bucket: ScratchBucket, tmp_path: Path) -> None:
    etags = fill(bucket, "sets/one/")
    bucket.put("sets/one/labels/drugs/", b"")
    bucket.put("sets/one/notes.txt", b"not an image")
    bucket.put("sets/one-and-a-half/labels/drugs/kind-1.png", png(99))
    manifest = taken(f"s3://{bucket.name}/sets/one", tmp_path)
    assert {entry.key: entry.etag for entry in manifest.entries} == etags
    assert manifest.excluded == ()
    assert {entry.slice for entry in manifest.entries} == {"kind", "a b%20", "y"}
    source = open_source(manifest.source)
    for entry in manifest.entries:
        assert hashlib.sha256(source.read(entry.key)).hexdigest() == entry.content_sha256


def test_a_copy_of_the_prefix_on_disk_has_the_same_digest(bucket: ScratchBucket, tmp_path: Path) -> None:
    for number in range(2 * EACH_CLASS):
        name = f"labels/{LABELS[number % 2]}/kind-{number:03}.png"
        bucket.put(name, png(number))
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png(number))
    in_s3 = taken(f"s3://{bucket.name}", tmp_path / "s3")
    assert taken(tmp_path, tmp_path / "disk").digest() == in_s3.digest()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("in_s3", [False, True])
def test_a_table_names_objects_with_slice_source_and_date(
    bucket: ScratchBucket, tmp_path: Path, suffix: str, in_s3: bool
) -> None:
    etags = fill(bucket, "up/")
    days = [datetime(2026, 11, 1 + n, tzinfo=UTC) for n in range(2 * EACH_CLASS)]
    extras: dict[str, list[Any]] = {
        "slice": ["pills", None, ""] * 8,
        "source": ["partner"] * 24,
        "reviewer": ["someone"] * 24,
    }
    table = table_of(bucket, date=[d.date().isoformat() if suffix == ".csv" else d for d in days], **extras)
    file = tmp_path / f"labels{suffix}"
    (csv.write_csv if suffix == ".csv" else parquet.write_table)(table, file)
    if in_s3:
        bucket.put(file.name, file.read_bytes())
        manifest = taken(f"s3://{bucket.name}/{file.name}", tmp_path / "work")
        bucket.delete(file.name)
    else:
        manifest = taken(file, tmp_path / "work")
    file.unlink()
    assert {e.key: e.etag for e in manifest.entries} == {f"s3://{bucket.name}/up/{k}": t for k, t in etags.items()}
    entry = next(entry for entry in manifest.entries if entry.key.endswith(f"/{key(0)}"))
    assert (entry.label, entry.slice, entry.source, entry.date[:10]) == ("other", "pills", "partner", "2026-11-01")
    assert {entry.slice for entry in manifest.entries} == {"pills", ""}
    assert open_source(manifest.source).read(entry.key) == png(0)


def test_rows_that_name_an_object_again_or_one_that_is_gone_are_reported(bucket: ScratchBucket, tmp_path: Path) -> None:
    fill(bucket, "up/", 30)
    usual = table_of(bucket)
    more = [f"up/{key(0)}", f"up/{key(0)}", f"up/{key(1)}", "up/absent.png"]
    again = pa.table({"bucket": [bucket.name] * 4, "key": more, "label": ["other", "other", "other", "drugs"]})
    slices = pa.array([""] * 24 + ["", "pills", "", ""])
    rows = pa.concat_tables([usual, again]).append_column("slice", slices)
    csv.write_csv(rows, tmp_path / "labels.csv")
    manifest = taken(tmp_path / "labels.csv", tmp_path / "work")
    assert len(manifest.entries) == 2 * EACH_CLASS - 1
    prefix = f"s3://{bucket.name}/up/"
    assert sorted((exclusion.key.removeprefix(prefix), exclusion.code) for exclusion in manifest.excluded) == sorted(
        [(key(0), "repeated_key"), (key(1), "conflicting_label"), ("absent.png", "gone")]
    )
    messages = {exclusion.code: exclusion.message for exclusion in manifest.excluded}
    assert messages["conflicting_label"] == "it has two labels: drugs (line 3), other (line 28)"


def test_an_object_that_is_deleted_after_the_listing_is_reported(
    bucket: ScratchBucket, flaky_s3: FlakyS3, tmp_path: Path
) -> None:
    fill(bucket)
    flaky_s3.after_listing = lambda: bucket.delete(key(4))
    manifest = taken(f"s3://{bucket.name}/", tmp_path)
    assert [(exclusion.key, exclusion.code) for exclusion in manifest.excluded] == [(key(4), "gone")]
    assert len(manifest.entries) == 2 * EACH_CLASS - 1


def test_an_object_over_the_byte_limit_is_reported(
    bucket: ScratchBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(bucket)
    bucket.put("labels/drugs/large-001.png", b"x" * 5000)
    monkeypatch.setenv("SNIFFER_MAX_IMAGE_BYTES", "4000")
    manifest = taken(f"s3://{bucket.name}", tmp_path)
    assert [exclusion.code for exclusion in manifest.excluded] == ["over_byte_limit"]


def test_a_failing_s3_is_waited_for_and_nothing_is_missing(
    bucket: ScratchBucket, flaky_s3: FlakyS3, tmp_path: Path
) -> None:
    fill(bucket)
    flaky_s3.after_listing = lambda: flaky_s3.away_for(0.7)
    manifest = taken(f"s3://{bucket.name}", tmp_path)
    assert len(manifest.entries) == 2 * EACH_CLASS
    assert manifest.excluded == ()


def refuse_an_image(flaky_s3: FlakyS3, status: int, code: str) -> None:
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    flaky_s3.refuse = lambda _method, path: (status, body) if "kind-003" in path else None


@pytest.mark.parametrize(
    ("status", "code", "exit_status", "message"),
    [
        (503, "SlowDown", 1, "cannot read s3://.*kind-003.png .*: run again later"),
        (
            403,
            "AccessDenied",
            2,
            "no permission to read s3:.*kind-003.png .S3 refuses it: AccessDenied.*: the credentials need s3:Get",
        ),
    ],
)
def test_one_image_that_s3_does_not_give_ends_the_snapshot(
    status: int,
    code: str,
    exit_status: int,
    message: str,
    bucket: ScratchBucket,
    flaky_s3: FlakyS3,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fill(bucket)
    monkeypatch.setenv("SNIFFER_FETCH_PATIENCE_S", "0.5")
    refuse_an_image(flaky_s3, status, code)
    assert run(f"s3://{bucket.name}", tmp_path / "work") == exit_status
    assert re.search(message, complaint(capsys))
    assert not (tmp_path / "work").exists()


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sniffer model snapshot: ")]
    return line


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("s3://absent-bucket/labels", "'absent-bucket' at .* does not exist: check the name"),
        (
            "s3://{bucket}/absent",
            "s3://{bucket}/absent/ does not exist, .* it must hold labels/other/ and labels/drugs/",
        ),
        ("s3://{bucket}/unlabelled", "no labelled images in s3://{bucket}/unlabelled/: put some under labels/other/"),
        ("s3://{bucket}/one", "no usable image of the class 'other'"),
        ("s3://{bucket}/third", "labels/weapons/ in s3://{bucket}/third/ is not a class"),
        ("s3://{bucket}/absent.csv", "cannot read the table s3://{bucket}/absent.csv: there is no such object"),
        ("s3:///labels", "names no bucket"),
        ("s3://No Bucket/x", "'No Bucket' is not a bucket name"),
        ("https://example.org/labels", "is neither a directory, s3://bucket/prefix, nor a table"),
    ],
)
def test_wrong_places_are_one_clear_line_and_nothing_is_written(
    source: str, message: str, bucket: ScratchBucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket.put("unlabelled/photo.png", png(0))
    for number in range(20):
        bucket.put(f"one/labels/drugs/kind-{number}.png", png(number))
    bucket.put("third/labels/weapons/kind-1.png", png(0))
    assert run(source.format(bucket=bucket.name), tmp_path / "work") == 2
    assert re.search(message.format(bucket=bucket.name), complaint(capsys))
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bucket,key\nb,k\n", r"labels.csv has no column label \(it has bucket, key\): a table of labels needs"),
        ("bucket,key,label\n", "no labelled images in .*labels.csv"),
        (
            "bucket,key,label\nb,k,other\nb,k,weapons\n",
            "1 of 2 rows of .*labels.csv are wrong: line 3: 'weapons' is not a class",
        ),
        ("bucket,key,label\nb,,other\n", "line 2: it has no key"),
        ("bucket,key,label,date\nb,k,other,yesterday\n", "line 2: 'yesterday' is no date"),
        ("bucket,key,label,label\nb,k,other,drugs\n", "more than one column label"),
        ("bucket,key,label\nabsent-bucket,k,other\n", "'absent-bucket' at .* does not exist"),
        ("bucket,key,label\nb,k\n", "line 2: it has 2 fields, and the header has 3"),
        ("", "labels.csv cannot be read as a table"),
        (None, "cannot read the table .*labels.csv: No such file"),
    ],
)
def test_wrong_tables_are_one_clear_line_and_nothing_is_written(
    text: str | None, message: str, s3: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (tmp_path / "labels.csv").write_text(text)
    assert run(tmp_path / "labels.csv", tmp_path / "work") == 2
    assert re.search(message, complaint(capsys))
    assert not (tmp_path / "work").exists()


def test_bytes_that_are_no_parquet_are_refused(s3: Any, tmp_path: Path) -> None:
    (tmp_path / "labels.parquet").write_bytes(b"bucket,key,label\n")
    with pytest.raises(SettingsError, match="cannot be read as a table"):
        open_source(str(tmp_path / "labels.parquet")).labelled()


def test_what_is_left_out_is_counted_by_its_reason(
    bucket: ScratchBucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(bucket)
    bucket.put("labels/drugs/empty-001.png", b"")
    bucket.put("labels/drugs/page-001.png", b"<html>")
    assert run(f"s3://{bucket.name}", tmp_path) == 0
    assert json.loads(capsys.readouterr().out)["left_out_by_code"] == {"empty": 1, "not_an_image": 1}
