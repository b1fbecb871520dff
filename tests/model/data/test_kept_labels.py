"""What moderation has deleted is trained on: decisions, copies, labels and a snapshot, by the programs themselves."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from support.review_site import fill, jpeg
from support.reviewed import decide
from support.scratch_bucket import ScratchBucket

from sniffer.adapters.mysql.database import Database
from sniffer.core.review_records import ReviewDecision
from sniffer.review import keep_images, publish_labels
from sniffer_model.data import snapshot
from sniffer_model.data.manifest import read_manifest
from sniffer_model.data.source import open_source

EACH_CLASS = 12


def test_a_snapshot_reads_the_copies_of_deleted_images(
    database: Database, database_url: str, bucket: ScratchBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNIFFER_DATABASE_URL", database_url)
    kept = f"{bucket.name}-kept"
    bucket.client.create_bucket(Bucket=kept)
    pictures = {f"up/{n:02}.jpg": jpeg(n, size=(32, 24)) for n in range(2 * EACH_CLASS)}
    drugs = sorted(pictures)[:EACH_CLASS]
    fill(database, bucket, {key: (data, 0.9) for key, data in pictures.items()})
    for key in pictures:
        decide(database, key, ReviewDecision.DRUG if key in drugs else ReviewDecision.NOT_DRUG)
    assert keep_images.main(["--to", f"s3://{kept}/decided"]) == 0
    for key in drugs:
        bucket.delete(key)
    bucket.put(sorted(pictures)[-1], jpeg(99, size=(32, 24)))
    labels = f"s3://{bucket.name}/labels/part-review.csv"
    assert publish_labels.main(["--to", labels]) == 0
    fractions = ["--validation-fraction", "0.3", "--test-fraction", "0.3"]
    assert snapshot.main(["--source", labels, "--workdir", str(tmp_path), *fractions]) == 0
    manifest = read_manifest(tmp_path / "manifest.json")
    wanted = {hashlib.sha256(data).hexdigest(): key in drugs for key, data in pictures.items()}
    assert {entry.content_sha256: entry.label == "drugs" for entry in manifest.entries} == wanted
    source = open_source(manifest.source)
    assert {hashlib.sha256(source.read(entry.key)).hexdigest() for entry in manifest.entries} == wanted.keys()
