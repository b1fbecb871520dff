"""Publishing to a folder and to a real S3 API: whole versions or none, each publisher its own."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest
from support.facts import FACTS
from support.scratch_bucket import ScratchBucket

from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.model_records import ModelFacts
from sniffer_model.release.model_base import CLAIM_FILE, ModelBase, open_model_base
from sniffer_model.release.publish import FACTS_FILE, digest_directory


@pytest.fixture(params=["folder", "s3"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "models")
    return f"s3://{request.getfixturevalue('bucket').name}/models/drug_detector"


def publish_text(base: ModelBase, text: str, head: str = "h") -> ModelFacts:
    with base.staging() as staged:
        (staged / "variables").mkdir()
        (staged / "variables" / "data").write_text(text)
        (staged / "saved_model.pb").write_text(text)
        facts = dataclasses.replace(FACTS, head_digest=head * 64, digest=digest_directory(staged))
        return base.publish(staged, facts, count(max(base.taken(), default=0) + 1))


def test_what_is_published_is_found_and_fetched_whole(location: str, tmp_path: Path) -> None:
    base = open_model_base(location)
    published = [publish_text(base, "one", "1"), publish_text(base, "two", "2")]
    assert base.versions() == base.taken() == [1, 2]
    assert base.find(published[0]) == published[0]
    assert base.find(dataclasses.replace(FACTS, head_digest="3" * 64)) is None
    directory = open_model_base(location).fetch(2, tmp_path / "fetched")
    assert (directory / "saved_model.pb").read_text() == (directory / "variables" / "data").read_text() == "two"


def test_publishers_at_once_get_versions_of_their_own(location: str, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        texts = [f"model {number}" for number in range(4)]
        published = list(pool.map(lambda text: publish_text(open_model_base(location), text, text[-1]), texts))
    assert sorted(facts.version for facts in published) == [1, 2, 3, 4]
    for facts, text in zip(published, texts, strict=True):
        fetched = open_model_base(location).fetch(facts.version, tmp_path / "fetched")
        assert (fetched / "saved_model.pb").read_text() == text


def test_a_version_that_is_not_there_is_a_clear_error(location: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no complete version 7"):
        open_model_base(location).fetch(7, tmp_path)


def test_an_interrupted_publish_is_no_version_and_only_the_same_model_resumes_it(
    bucket: ScratchBucket, tmp_path: Path
) -> None:
    base = open_model_base(f"s3://{bucket.name}")
    whole = publish_text(base, "one")
    bucket.client.delete_object(Bucket=bucket.name, Key=f"1/{FACTS_FILE}")
    assert (base.versions(), base.taken()) == ([], [1])
    with pytest.raises(SettingsError, match="no complete version 1"):
        base.fetch(1, tmp_path)
    assert publish_text(base, "another", "2").version == 2
    with base.staging() as staged, pytest.raises(ContractError, match="holds another model"):
        base.publish(staged, dataclasses.replace(FACTS, head_digest="2" * 64), [1])
    with base.staging() as staged:
        # Judged again meanwhile, so that its papers, and with them its bytes, are others.
        resumed = base.publish(staged, dataclasses.replace(whole, version=0, digest="f" * 64), [1])
    assert resumed == dataclasses.replace(whole, digest="f" * 64)
    assert base.versions() == [1, 2]


def test_a_damaged_version_is_not_handed_out(location: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    publish_text(open_model_base(location), "one")
    if location.startswith("s3://"):
        request.getfixturevalue("bucket").put("models/drug_detector/1/saved_model.pb", b"other")
    else:
        Path(location, "1", "saved_model.pb").write_text("other")
    with pytest.raises(ContractError, match="digest differs"):
        open_model_base(location).fetch(1, tmp_path / "fetched")


def test_the_claim_is_no_part_of_the_model(bucket: ScratchBucket, tmp_path: Path) -> None:
    base = open_model_base(f"s3://{bucket.name}")
    publish_text(base, "one")
    assert not (base.fetch(1, tmp_path) / CLAIM_FILE).exists()


def test_another_kind_of_place_is_refused() -> None:
    with pytest.raises(SettingsError, match="s3://bucket/prefix"):
        open_model_base("gs://bucket/models")
