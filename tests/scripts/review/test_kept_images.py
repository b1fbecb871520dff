"""Copies of decided images: made at the decision, of the decided bytes alone, trained on when the original is gone."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from support.database_servers import DatabaseServer
from support.database_users import url_of, users
from support.review_site import URL, add_accounts, field, fill, jpeg, opened, site
from support.reviewed import decide, submit
from support.scratch_bucket import ScratchBucket
from support.stored_rows import change, rows

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.mysql.review.decisions import ReviewDecisions
from sniffer.adapters.mysql.review.kept import KeptImages
from sniffer.adapters.s3.bucket import Bucket
from sniffer.adapters.s3.errors import NotFetched
from sniffer.core.errors import TransientError
from sniffer.core.kept_images import DecidedBytesAt
from sniffer.core.records import Outcome, Unscored
from sniffer.core.review_records import NewDecision, ReviewDecision
from sniffer.core.review_settings import ReviewSettings
from sniffer.core.settings import DatabaseSettings, FetchSettings
from sniffer.retention.erase import erase
from sniffer.review import keep_images, keeping, publish_labels
from sniffer.review.keeping import ImageKeeper, KeepingProgress, KeptReport, keep_missing

DRUG, NOT_DRUG, UNSURE, WITHDRAWN = ReviewDecision


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setenv("SNIFFER_DATABASE_URL", database_url)


@pytest.fixture
def kept(bucket: ScratchBucket) -> ScratchBucket:
    """A bucket for copies, which keeps versions."""
    name = f"{bucket.name}-kept"
    bucket.client.create_bucket(Bucket=name)
    bucket.client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return ScratchBucket(name, bucket.client, bucket.endpoint_url)


def keeper_to(kept: ScratchBucket) -> ImageKeeper:
    return ImageKeeper(f"s3://{kept.name}/decided", opened, FetchSettings(patience_s=5))


def copies(kept: ScratchBucket) -> dict[str, bytes]:
    listed = kept.client.list_objects_v2(Bucket=kept.name).get("Contents", ())
    return {each["Key"]: kept.client.get_object(Bucket=kept.name, Key=each["Key"])["Body"].read() for each in listed}


def versions(kept: ScratchBucket) -> int:
    answer = kept.client.list_object_versions(Bucket=kept.name)
    return len(answer.get("Versions", ())) + len(answer.get("DeleteMarkers", ()))


def key_of(data: bytes) -> str:
    name = hashlib.sha256(data).hexdigest()
    return f"decided/{name[:2]}/{name}"


def publish(tmp_path: Path) -> list[dict[str, str]]:
    out = tmp_path / "labels.csv"
    assert publish_labels.main(["--to", str(out)]) == 0
    return list(csv.DictReader(io.StringIO(out.read_text())))


def test_what_moderation_deletes_is_trained_on(
    database: Database, bucket: ScratchBucket, kept: ScratchBucket, tmp_path: Path
) -> None:
    fill(database, bucket, {"a": (b"one", 0.9), "b": (b"two", 0.8), "same": (b"one", 0.7), "c": (b"three", 0.6)})
    for key, said in (("a", DRUG), ("b", NOT_DRUG), ("same", DRUG)):
        decide(database, key, said)
    bucket.put("b", b"other")
    result = tmp_path / "result.json"
    asked = ["--to", f"s3://{kept.name}/decided", "--result", str(result)]
    assert keep_images.main(asked) == 0
    assert json.loads(result.read_text()) == {"kept": 1, "lost": {"replaced": 1}, "removed": 0}
    bucket.delete("a")
    bucket.delete("same")
    for _ in range(2):
        assert keep_images.main(asked) == 0
        assert json.loads(result.read_text()) == {"kept": 0, "lost": {}, "removed": 0}
    assert copies(kept) == {key_of(b"one"): b"one"} and versions(kept) == 1
    first, second = sorted(publish(tmp_path), key=lambda row: row["original_key"], reverse=True)
    assert (first["bucket"], first["key"], first["label"]) == (kept.name, key_of(b"one"), "drugs")
    assert (first["original_bucket"], first["original_key"]) == (bucket.name, "same")
    assert first["content_sha256"] == hashlib.sha256(b"one").hexdigest()
    version = kept.client.head_object(Bucket=kept.name, Key=first["key"]).get("VersionId")
    assert first["version_id"] == (version or "")
    assert (second["bucket"], second["key"], second["original_key"]) == (bucket.name, "b", "")
    # What was not to be had is tried again by a later decision about the same bytes.
    fill(database, bucket, {"again": (b"two", 0.9)})
    decide(database, "again", NOT_DRUG)
    assert keep_images.main(asked) == 0
    assert set(copies(kept)) == {key_of(b"one"), key_of(b"two")}


def decide_next(client: TestClient) -> None:
    """Not a drug is what comes next."""
    shown = client.get("/review").text
    form = {name: field(shown, name) for name in ("csrf", "submit_key", "images")} | {"decision": "not_drug"}
    assert client.post("/review/decide", data=form).status_code == 303


def test_a_decision_on_the_page_has_its_copy_before_it_is_stored_and_needs_none(
    database: Database, database_url: str, bucket: ScratchBucket, kept: ScratchBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, bucket, {"a.jpg": (jpeg(1), 0.9), "b.jpg": (jpeg(2), 0.8)})
    add_accounts(database, ann="reviewer")
    before: list[set[str]] = []
    add = ReviewDecisions.add

    def seen(self: ReviewDecisions, decisions: Sequence[NewDecision], **how: Any) -> list[int]:
        before.append(set(copies(kept)))
        return add(self, decisions, **how)

    monkeypatch.setattr(ReviewDecisions, "add", seen)
    with site(database_url, ReviewSettings(URL, keep_to=f"s3://{kept.name}/decided")) as page:
        ann = page.client("ann")
        decide_next(ann)
        assert before == [{key_of(jpeg(1))}]
        monkeypatch.setattr(ReviewDecisions, "add", add)
        bucket.delete("b.jpg")
        decide_next(ann)
    assert len(database.review_decisions.latest(9)) == 2
    assert database.kept_images.missing(0, 9)[0].key == "b.jpg"
    with site(database_url, ReviewSettings(URL, keep_to="s3://no-such-bucket-of-ours")) as page:
        fill(database, bucket, {"c.jpg": (jpeg(3), 0.9)})
        decide_next(page.client("ann"))
    assert len(database.review_decisions.latest(9)) == 3


def test_whoever_is_killed_within_a_copy_loses_nothing(
    database: Database, bucket: ScratchBucket, kept: ScratchBucket
) -> None:
    fill(database, bucket, {"a": (b"one", 0.9)})
    decide(database, "a", DRUG)
    keeper = keeper_to(kept)
    content = hashlib.sha256(b"one").digest()
    # Killed after its row; after the object; and while another one does the same.
    (begun,) = database.kept_images.begin(keeper.bucket, {content: keeper.key_of(content)})
    assert [one for page in database.kept_images.pages() for one in page] == []
    kept.put(keeper.key_of(content), b"one")
    assert keep_missing(database, keeper, KeepingProgress()).kept == 1 and versions(kept) == 1
    assert not database.kept_images.end(begun, "late", 3)
    (whole,) = (one for page in database.kept_images.pages() for one in page)
    assert whole.version_id != "late"
    # Half a copy, or another's bytes, under its key is no copy.
    fill(database, bucket, {"b": (b"two", 0.9)})
    decide(database, "b", DRUG)
    kept.put(key_of(b"two"), b"tw_")
    assert keep_missing(database, keeper, KeepingProgress()).kept == 1
    assert copies(kept)[key_of(b"two")] == b"two"


def erase_key(database: Database, bucket: ScratchBucket, key: str) -> int | None:
    found = erase(database, bucket.name, key=key, prefix="", requested_by="J. Doe", reason="ticket 812")
    assert database.retention.erasures(bucket.name)[-1].copies == found.copies
    return found.copies


def test_an_erasure_deletes_every_version_of_a_copy_that_nobody_else_needs(
    database: Database, database_url: str, bucket: ScratchBucket, kept: ScratchBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, bucket, {"a": (b"one", 0.9), "same": (b"one", 0.8), "b": (b"two", 0.7)})
    for key in ("a", "same", "b"):
        decide(database, key, DRUG)
    change(database_url, "DELETE FROM leases")
    keeper = keeper_to(kept)
    assert keep_missing(database, keeper, KeepingProgress()).kept == 2
    kept.put(key_of(b"one"), b"an older version")
    assert erase_key(database, bucket, "a") == 0 and versions(kept) == 3
    # Killed after the rows of the image, before the copy: the second run knows of it.
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(KeptImages, "to_remove", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        erase_key(database, bucket, "same")
    assert erase_key(database, bucket, "same") == 1
    assert list(copies(kept)) == [key_of(b"two")] and versions(kept) == 1
    assert rows(database_url, "SELECT COUNT(*) FROM kept_images") == [(1,)]
    assert erase_key(database, bucket, "b") == 1 and versions(kept) == 0


def test_a_copy_goes_a_day_after_its_decision_was_taken_back(
    database: Database, database_url: str, bucket: ScratchBucket, kept: ScratchBucket
) -> None:
    fill(database, bucket, {"a": (b"one", 0.9), "b": (b"two", 0.8)})
    number = decide(database, "a", DRUG)
    decide(database, "b", DRUG)
    keeper = keeper_to(kept)
    assert keep_missing(database, keeper, KeepingProgress()) == KeptReport(2, {})
    image_id = database.review_decisions.latest(9)[1].row.image_id
    submit(database, [NewDecision(image_id, WITHDRAWN, replaces=number)])
    assert keep_missing(database, keeper, KeepingProgress()).removed == 0
    change(database_url, "UPDATE kept_images SET begun_at = begun_at - INTERVAL 25 HOUR")
    assert keep_missing(database, keeper, KeepingProgress()).removed == 1
    assert list(copies(kept)) == [key_of(b"two")]


def test_a_copy_that_is_wanted_again_is_not_removed_by_who_found_it_unneeded_before(
    database: Database, database_url: str, bucket: ScratchBucket, kept: ScratchBucket
) -> None:
    fill(database, bucket, {"a": (b"one", 0.9)})
    number = decide(database, "a", DRUG)
    keeper = keeper_to(kept)
    assert keep_missing(database, keeper, KeepingProgress()).kept == 1
    image_id = database.review_decisions.latest(9)[0].row.image_id
    submit(database, [NewDecision(image_id, WITHDRAWN, replaces=number)])
    change(database_url, "UPDATE kept_images SET begun_at = begun_at - INTERVAL 25 HOUR")
    (unneeded,) = database.kept_images.to_remove(unneeded_for=timedelta(days=1))
    # The page copies before it stores the decision, and finds that the copy is there.
    assert keeper.keep(database, [DecidedBytesAt(unneeded.content_hash, bucket.name, "a")]).kept == 0
    assert not database.kept_images.remove(unneeded, kept.delete)
    assert copies(kept) == {key_of(b"one"): b"one"}
    assert [one.key for page in database.kept_images.pages() for one in page] == [key_of(b"one")]


@pytest.mark.parametrize("role", ["sniffer_scan", "sniffer_review"])
def test_the_roles_that_keep_copies_may_remove_them(
    database: Database,
    database_server: DatabaseServer,
    database_url: str,
    bucket: ScratchBucket,
    kept: ScratchBucket,
    role: str,
) -> None:
    keeper = keeper_to(kept)
    with users(database_server, database_url, role), Database(DatabaseSettings(url_of(database_url, role))) as limited:
        fill(database, bucket, {"a": (b"one", 0.9)})
        number = decide(database, "a", DRUG)
        assert keep_missing(limited, keeper, KeepingProgress()).kept == 1
        image_id = database.review_decisions.latest(9)[0].row.image_id
        submit(database, [NewDecision(image_id, WITHDRAWN, replaces=number)])
        change(database_url, "UPDATE kept_images SET begun_at = begun_at - INTERVAL 25 HOUR")
        assert keep_missing(limited, keeper, KeepingProgress()).removed == 1
    assert rows(database_url, "SELECT COUNT(*) FROM kept_images") == [(0,)] and copies(kept) == {}


def test_what_the_store_refuses_is_told_and_tried_again(database: Database, bucket: ScratchBucket) -> None:
    fill(database, bucket, {"a": (b"one", 0.9)})
    decide(database, "a", DRUG)
    assert keep_images.main(["--to", "my-bucket/decided"]) == 2
    assert keep_images.main(["--to", "s3://no-such-bucket-of-ours/decided"]) == 2
    assert len(database.kept_images.missing(0, 9)) == 1


def test_what_is_refused_holds_nothing_up_and_is_tried_again(
    database: Database, bucket: ScratchBucket, kept: ScratchBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page has one image. Four that are refused, and two that fail for now, come before one that can be had."""
    monkeypatch.setattr(keeping, "_PAGE", 1)
    keys = [*"abcdefg"]
    fill(database, bucket, {key: (key.encode(), 0.9) for key in keys})
    for key in keys:
        decide(database, key, DRUG)
    is_open = False
    read = Bucket.read

    def refusing(self: Bucket, key: str, *asked: Any, **how: Any) -> Any:
        if is_open or key == "g":
            return read(self, key, *asked, **how)
        outcome = Outcome.INACCESSIBLE if key in "abcd" else Outcome.FAILED
        raise NotFetched(Unscored(outcome, "access_denied", "403 Forbidden"))

    monkeypatch.setattr(Bucket, "read", refusing)
    with pytest.raises(TransientError, match=f"cannot copy s3://{bucket.name}/e"):
        keep_missing(database, keeper_to(kept), KeepingProgress())
    assert list(copies(kept)) == [key_of(b"g")]
    is_open = True
    assert keep_missing(database, keeper_to(kept), KeepingProgress()) == KeptReport(6, {})


def test_a_bucket_that_is_not_there_any_more_holds_no_other_up(
    database: Database, bucket: ScratchBucket, kept: ScratchBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, bucket, {"a": (b"one", 0.9), "b": (b"two", 0.8)})
    for key in "ab":
        decide(database, key, DRUG)
    missing = KeptImages.missing

    def elsewhere(self: KeptImages, after: int, limit: int) -> list[DecidedBytesAt]:
        found = missing(self, after, limit)
        return [replace(each, bucket="no-such-bucket-of-ours") if each.key == "a" else each for each in found]

    monkeypatch.setattr(KeptImages, "missing", elsewhere)
    assert keep_missing(database, keeper_to(kept), KeepingProgress()) == KeptReport(1, {"refused": 1})
    assert list(copies(kept)) == [key_of(b"two")]
