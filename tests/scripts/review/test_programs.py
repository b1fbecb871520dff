"""The programs: what waits goes out, decisions come back, and become labels that a snapshot freezes."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.reviewed import decide, flag, submit
from support.scratch_bucket import ScratchBucket

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.s3.locations import bucket_of
from sniffer.core.records import Outcome, Result, ScanRequest
from sniffer.core.review_records import NewDecision, ReviewDecision
from sniffer.core.settings import FetchSettings
from sniffer.review import export_queue, import_decisions, publish_labels
from sniffer_model.data import snapshot
from sniffer_model.data.manifest import read_manifest

DRUG, NOT_DRUG, UNSURE, WITHDRAWN = ReviewDecision


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setenv("SNIFFER_DATABASE_URL", database_url)


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def publish(to: str | Path, result: Path) -> dict[str, object]:
    assert publish_labels.main(["--to", str(to), "--result", str(result)]) == 0
    found: dict[str, object] = json.loads(result.read_text())
    return found


def test_what_waits_is_decided_elsewhere_and_comes_back(database: Database, tmp_path: Path) -> None:
    flag(database, {"=a": 0.9, "b": 0.8, "c": 0.7})
    out = tmp_path / "queue.csv"
    assert export_queue.main(["--out", str(out), "--limit", "2"]) == 0
    rows = table(out.read_text())
    assert [row["key"] for row in rows] == ["'=a", "b"] and out.stat().st_mode & 0o077 == 0
    rows[0] |= {"decision": "drug", "reason": "other"}
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for _ in range(2):
        assert import_decisions.main([str(out), "--reviewer", "Jo"]) == 0
    (decided,) = database.review_decisions.latest(9)
    assert (decided.key, decided.row.reviewer, decided.row.entered_by) == ("=a", "Jo", "import")
    assert import_decisions.main([str(out)]) == 2


def test_coop_s_items_have_links_that_the_store_answers(
    database: Database, bucket: ScratchBucket, tmp_path: Path
) -> None:
    import requests

    bucket.put("ä b.jpg", b"bytes")
    link = bucket_of(bucket.name, FetchSettings(), 1).link("ä b.jpg", 60)
    assert requests.get(link, timeout=10).content == b"bytes"
    flag(database, {"a": 0.9})
    assert export_queue.main(["--format", "coop", "--out", str(tmp_path / "x.json")]) == 2
    flags = ["--format", "coop", "--coop-type", "t", "--out", str(tmp_path / "x.json")]
    assert export_queue.main(flags) == 0
    (one,) = json.loads((tmp_path / "x.json").read_text())["items"]
    assert "Signature" in one["data"]["images"][0] and one["data"]["key"] == "a"


def picture(seed: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def scan(database: Database, bucket: ScratchBucket, count: int) -> None:
    """Put so many pictures into the bucket, and score them as a scan would, all of them high."""
    import hashlib

    client = bucket_of(bucket.name, FetchSettings(), 10_000)
    client.check()
    contents = {}
    for number in range(count):
        contents[f"k{number:02}"] = picture(number)
        bucket.put(f"k{number:02}", contents[f"k{number:02}"])
    listed = [image for page in client.pages("") for image in page]
    flag(database, {})
    token = database.scans.open(ScanRequest("real", bucket.name), 1, 0.5)
    results = [Result(image, Outcome.PREDICTED, 0.9, hashlib.sha256(contents[image.key]).digest()) for image in listed]
    database.images.record(results, model_version=1, token=token, decoder_version=1)
    database.review_queue.refresh()


def test_decisions_become_the_labels_of_a_snapshot_and_so_do_their_reversals(
    database: Database, bucket: ScratchBucket, tmp_path: Path
) -> None:
    scan(database, bucket, 22)
    numbers = {key: decide(database, key, NOT_DRUG if at % 2 else DRUG) for at, key in enumerate(
        f"k{number:02}" for number in range(20)
    )}  # fmt: skip
    decide(database, "k20", UNSURE)
    place = f"s3://{bucket.name}-labels/2026/part-review.csv"
    bucket.client.create_bucket(Bucket=f"{bucket.name}-labels")
    first = publish(place, tmp_path / "result.json")
    assert first["labels"] == {"other": 10, "drugs": 10}
    assert first["left_out"] == {"conflict": 0, "open": 1, "replaced": 0}
    flags = ["--source", place, "--validation-fraction", "0.3", "--test-fraction", "0.3"]
    assert snapshot.main([*flags, "--workdir", str(tmp_path / "1")]) == 0
    entries = {entry.key: entry for entry in read_manifest(tmp_path / "1" / "manifest.json").entries}
    k00 = entries[f"s3://{bucket.name}/k00"]
    assert len(entries) == 20 and (k00.label, k00.slice, k00.source) == ("drugs", "cannabis", "review")
    body = bucket.client.get_object(Bucket=f"{bucket.name}-labels", Key="2026/part-review.csv")["Body"].read()
    row = next(row for row in table(body.decode()) if row["key"] == "k00")
    assert (row["decisions"], row["model_version"], row["score"]) == (str(numbers["k00"]), "1", "0.9")

    decided = {each.key: each.row for each in database.review_decisions.latest(99)}
    appeal = NewDecision(decided["k00"].image_id, NOT_DRUG, is_appeal=True)
    submit(database, [appeal], "lea", is_lead=True)
    submit(database, [NewDecision(decided["k02"].image_id, WITHDRAWN, replaces=numbers["k02"])])
    bucket.put("k04", picture(99))  # other bytes, which no scan has seen
    again = publish(place, tmp_path / "result.json")
    assert again["labels"] == {"other": 11, "drugs": 8} and again["digest"] != first["digest"]
    assert snapshot.main([*flags, "--workdir", str(tmp_path / "2")]) == 0
    manifest = read_manifest(tmp_path / "2" / "manifest.json")
    labels = {entry.key.rpartition("/")[2]: entry.label for entry in manifest.entries}
    assert labels["k00"] == "other" and "k02" not in labels and "k04" not in labels
    assert [(each.key.rpartition("/")[2], each.code) for each in manifest.excluded] == [("k04", "replaced")]
    assert publish(place, tmp_path / "result.json")["digest"] == again["digest"]


def test_a_table_s_name_and_place_are_checked_first(database: Database, tmp_path: Path) -> None:
    assert publish_labels.main(["--to", str(tmp_path / "labels.txt")]) == 2
    assert publish_labels.main(["--to", str(tmp_path)]) == 2
    assert publish_labels.main(["--to", str(tmp_path / "labels.csv")]) == 0
    assert (tmp_path / "labels.csv").read_text().startswith("bucket,key,label,")


def test_no_table_with_labels_is_emptied(
    database: Database, bucket: ScratchBucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A database that was set up anew takes no labels from the next training."""
    flag(database, {"a": 0.9})
    number = decide(database, "a", NOT_DRUG)
    bucket.put("review.csvx", b"x" * 999)
    places = [str(tmp_path / "review.csv"), f"s3://{bucket.name}/review.csv"]
    for place in places:
        publish(place, tmp_path / "result.json")
    image_id = database.review_decisions.latest(1)[0].row.image_id
    submit(database, [NewDecision(image_id, WITHDRAWN, replaces=number)])
    for place in places:
        assert publish_labels.main(["--to", place]) == 2
        assert "is SNIFFER_DATABASE_URL the reviewers' database" in capsys.readouterr().err
    bucket.delete("review.csv")
    (tmp_path / "review.csv").unlink()
    for place in 2 * places:
        assert publish(place, tmp_path / "result.json")["labels"] == {"other": 0, "drugs": 0}


def test_a_message_that_is_played_back_changes_nothing(database: Database) -> None:
    from sniffer.core.review_records import ImportedDecision

    flag(database, {"a": 0.9})
    image_id = database.review_queue.without_hash(1)[0].image_id
    drug = [ImportedDecision(image_id, UNSURE, "tool")]
    other = [ImportedDecision(image_id, NOT_DRUG, "tool")]
    sent = [datetime(2026, 11, 26, 12, 0, second, tzinfo=UTC) for second in range(3)]
    add = database.review_decisions.add_imported
    assert add(drug, submit_key="one", sent_at=sent[0]).added == 1
    assert add(drug, submit_key="again", sent_at=sent[1]).unchanged == 1
    assert add(other, submit_key="two", sent_at=sent[2]).added == 1
    assert add(drug, submit_key="one", sent_at=sent[0]).added == 0
    assert "has decided it since" in add(drug, submit_key="again", sent_at=sent[1]).refused[0]
    assert [row.decision for row in database.review_decisions.of_image(image_id) if row.is_live] == [NOT_DRUG]
