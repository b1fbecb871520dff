"""`sniffer plan --inventory`: reports as AWS writes them, lying ones and broken ones, against a real S3."""

from __future__ import annotations

import builtins
import gzip
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.inventories import FOLDER, csv_part, parquet_part, put_inventory
from support.scratch_bucket import ScratchBucket

from sniffer.adapters.s3 import inventory as reader
from sniffer.adapters.s3.inventory import open_inventory
from sniffer.core.errors import SettingsError
from sniffer.core.key_ranges import KeyRange, tiling_faults
from sniffer.core.settings import FetchSettings
from sniffer.scan import plan

KEYS = sorted(
    [*(f"2026/img {at:02}+%20é.jpg" for at in range(20)), "2026/new\nline.jpg", "2026/😀.jpg", '2026/"q",.jpg']
)
SCHEMA = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker"


@pytest.fixture
def filled(bucket: ScratchBucket, monkeypatch: pytest.MonkeyPatch) -> ScratchBucket:
    """A bucket with the keys."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.endpoint_url)
    for key in KEYS:
        if "\n" not in key:  # moto takes no such key; AWS does
            bucket.put(key, b"x")
    return bucket


def planned(bucket: ScratchBucket, folder: Path, location: str, *flags: str) -> dict[str, Any]:
    result = folder / "plan.json"
    flags = (f"--bucket={bucket.name}", "--prefix=2026/", f"--inventory={location}", f"--result={result}", *flags)
    assert plan.main(flags) == 0
    found: dict[str, Any] = json.loads(result.read_text())
    ranges = [KeyRange(shard["after"], shard["up_to"]) for shard in found["shards"]]
    assert tiling_faults(ranges) == []
    assert {one.up_to for one in ranges[:-1]} <= set(KEYS)
    assert [sum(one.contains(key) for one in ranges) for key in KEYS] == [1] * len(KEYS)
    return found


def read(bucket: ScratchBucket, location: str, prefix: str = "") -> list[str]:
    found = open_inventory(location, bucket.name, FetchSettings(patience_s=1))
    return [key.decode() for batch in found.keys(prefix) for key in (batch[at] for at in range(len(batch)))]


def test_shards_by_a_report_in_csv_are_equal_and_end_at_keys_of_s3(filled: ScratchBucket, tmp_path: Path) -> None:
    location = put_inventory(filled, [csv_part(filled.name, KEYS[:9]), csv_part(filled.name, [*KEYS[9:], "other/1"])])
    assert read(filled, location, "2026/") == KEYS
    found = planned(filled, tmp_path, location, "--shards=4")
    assert [shard["keys"] for shard in found["shards"]] == [5, 6, 6, 6]
    assert (found["keys"], found["warning"], found["requests"]) == (23, "", 3 + 4)


def test_shards_by_a_report_in_parquet_of_a_bucket_with_versions(
    filled: ScratchBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [*((key, True, False) for key in KEYS), *((key, False, False) for key in KEYS), ("2026/gone", True, True)]
    keys, latest, deleted = zip(*rows, strict=True)
    part = parquet_part(filled.name, keys, is_latest=latest, is_delete_marker=deleted)
    location = put_inventory(filled, [part], file_format="Parquet", schema="message s3.inventory { … }")
    assert read(filled, location) == KEYS
    monkeypatch.setenv("SNIFFER_SHARD_KEYS", "1000")
    assert planned(filled, tmp_path, location)["warning"] == ""
    assert len(planned(filled, tmp_path, location, "--shards=6")["shards"]) == 6


def test_versions_that_are_not_current_are_left_out_of_csv(filled: ScratchBucket) -> None:
    parts = [
        csv_part(filled.name, KEYS, ("v1", "true", "false")),
        csv_part(filled.name, KEYS, ("v0", "false", "false")),
        csv_part(filled.name, ["2026/gone"], ("v0", "true", "true")),
    ]
    assert read(filled, put_inventory(filled, parts, schema=SCHEMA)) == KEYS


@pytest.mark.parametrize("told", [["2026/zzz"] * 50, [f"2026/{at}" for at in range(50)], ["2026/img 03+%20é.jpg"]])
def test_a_lying_or_old_report_loses_no_key_and_says_so(
    filled: ScratchBucket, tmp_path: Path, told: Sequence[str]
) -> None:
    created = datetime.now(UTC) - timedelta(days=365, hours=1)
    location = put_inventory(filled, [csv_part(filled.name, told)], created=created)
    found = planned(filled, tmp_path, location, "--shards=5")
    assert "365 days old" in found["warning"] and "in place of 5" in found["warning"]


def _refused(bucket: ScratchBucket, location: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(bucket, location)
    return str(caught.value)


def test_reports_that_are_none_or_of_another_bucket_are_refused_in_words(filled: ScratchBucket) -> None:
    part = csv_part(filled.name, KEYS)
    assert "'other', not" in _refused(filled, put_inventory(filled, [part], source="other"))
    assert "CSV or Parquet" in _refused(filled, put_inventory(filled, [part], file_format="ORC"))
    assert "no Bucket or no Key" in _refused(filled, put_inventory(filled, [part], schema="Bucket, Size"))
    assert "not what the manifest says" in _refused(filled, put_inventory(filled, [part], md5="0" * 32))
    assert "key, size or MD5" in _refused(filled, put_inventory(filled, [part], md5="x"))
    assert "of bucket 'other'" in _refused(filled, put_inventory(filled, [csv_part("other", KEYS)]))
    assert "3 columns" in _refused(filled, put_inventory(filled, [csv_part(filled.name, KEYS, ("1",))]))
    assert "no gzipped CSV" in _refused(filled, put_inventory(filled, [b"no gzip"]))
    assert "no gzipped CSV" in _refused(filled, put_inventory(filled, [part[:-30]]))
    assert "a line of more" in _refused(filled, put_inventory(filled, [gzip.compress(b"x" * 10_000_000)]))
    assert "key of 1500 bytes" in _refused(filled, put_inventory(filled, [csv_part(filled.name, ["k" * 1500])]))
    other = put_inventory(filled, [parquet_part("other", KEYS)], file_format="Parquet")
    assert "of another bucket" in _refused(filled, other)
    assert "no Parquet" in _refused(filled, put_inventory(filled, [b"PAR1"], file_format="Parquet"))
    assert "for Hive" in _refused(filled, f"s3://{filled.name}/reports/hive/dt=2026-11-25-01-00/symlink.txt")
    assert "has to end in manifest.json" in _refused(filled, f"s3://{filled.name}/reports/1.csv")
    assert "AWS writes manifest.checksum last" in _refused(filled, f"s3://{filled.name}/nowhere/manifest.json")


def test_a_manifest_that_is_damaged_huge_or_whose_parts_are_gone_is_refused(
    filled: ScratchBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = put_inventory(filled, [csv_part(filled.name, KEYS)])
    filled.delete("reports/uploads/daily/data/0.csv.gz")
    assert "file 1 of 1" in _refused(filled, location) and "may expire" in _refused(filled, location)
    filled.put(f"{FOLDER}manifest.checksum", b"0" * 32)
    assert "is not what manifest.checksum" in _refused(filled, location)
    filled.delete(f"{FOLDER}manifest.checksum")
    assert "manifest.checksum (" in _refused(filled, location)
    monkeypatch.setattr(reader, "MOST_MANIFEST_BYTES", 100)
    assert "100 are the most" in _refused(filled, location)


def test_a_report_without_a_key_of_the_prefix_leaves_it_to_samples_and_says_so(
    filled: ScratchBucket, tmp_path: Path
) -> None:
    location = put_inventory(filled, [csv_part(filled.name, ["other/1"])])
    found = planned(filled, tmp_path, location, "--shards=3")
    assert len(found["shards"]) == 3
    assert "lists no key under '2026/': it was cut by samples of the listing" in found["warning"]


@pytest.mark.parametrize("flag", ["--limit=5", "--shards=1"])
def test_flags_that_do_not_go_with_a_report_are_refused(
    filled: ScratchBucket, capfd: pytest.CaptureFixture[str], flag: str
) -> None:
    flags = [f"--bucket={filled.name}", f"--inventory=s3://{filled.name}/{FOLDER}manifest.json", flag]
    assert plan.main(flags) == 2
    assert "leave it out, or --dry-run" in capfd.readouterr().err


def test_of_a_folder_the_newest_report_that_is_whole_is_taken(filled: ScratchBucket, tmp_path: Path) -> None:
    folder = f"s3://{filled.name}/{FOLDER.removesuffix('2026-11-25T01-00Z/')}"
    assert "has no whole report" in _refused(filled, folder)
    location = put_inventory(filled, [csv_part(filled.name, KEYS)])
    found = planned(filled, tmp_path, folder, "--shards=4")
    assert (len(found["shards"]), found["keys"], found["warning"]) == (4, 23, "")
    for date, names in (
        ("1999-01-01T00-00Z", ("manifest.json", "manifest.checksum")),
        ("2026-11-24T01-00Z", ("manifest.json", "manifest.checksum")),
        ("2026-11-26T01-00Z", ("manifest.json",)),  # still being written
    ):
        for name in names:
            filled.put(f"{FOLDER.replace('2026-11-25T01-00Z', date)}{name}", b"another")
    assert open_inventory(folder, filled.name, FetchSettings(patience_s=1)).location == location


def test_parquet_without_pyarrow_says_what_to_install(filled: ScratchBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    location = put_inventory(filled, [parquet_part(filled.name, KEYS)], file_format="Parquet")
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.partition(".")[0] == "pyarrow":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "pyarrow", raising=False)
    assert "pip install pyarrow" in _refused(filled, location)
