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
from sniffer.core.files import write_json
from sniffer.core.model_records import PIXEL_BYTES, ModelFacts
from sniffer_model.release.golden import EXAMPLES_FILE, GOLDEN_FOLDER, GoldenFiles, GoldenList, read_golden
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


@pytest.mark.parametrize("name", ["../../stolen", "/stolen", "variables/../../../stolen", "a//b", "a\\b", "x" * 256])
def test_a_name_that_leaves_the_version_is_refused_before_anything_is_written(
    name: str, bucket: ScratchBucket, tmp_path: Path
) -> None:
    base = open_model_base(f"s3://{bucket.name}/models")
    publish_text(base, "one")
    bucket.put(f"models/1/{name}", b"mine")
    with pytest.raises(ContractError, match="is not one to put into"):
        base.fetch(1, tmp_path / "a/fetched")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_a_folder_too_is_a_clear_error(bucket: ScratchBucket, tmp_path: Path) -> None:
    base = open_model_base(f"s3://{bucket.name}/models")
    publish_text(base, "one")
    bucket.put("models/1/saved_model.pb/more", b"mine")
    with pytest.raises(ContractError, match="a file and a folder at once"):
        base.fetch(1, tmp_path)


def test_a_link_in_the_place_of_a_download_is_not_followed(bucket: ScratchBucket, tmp_path: Path) -> None:
    base = open_model_base(f"s3://{bucket.name}/models")
    publish_text(base, "one")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "fetched/1").mkdir(parents=True)
    (tmp_path / "fetched/1/variables").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ContractError, match="link"):
        base.fetch(1, tmp_path / "fetched")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_other_spellings_of_a_number_are_no_versions(bucket: ScratchBucket) -> None:
    base = open_model_base(f"s3://{bucket.name}/models")
    for folder in ("007", "0", "\u0663", "-1", "1.0"):
        bucket.put(f"models/{folder}/{FACTS_FILE}", b"{}")
    assert base.taken() == []


def test_a_link_in_a_folder_of_versions_is_refused(tmp_path: Path) -> None:
    base = open_model_base(str(tmp_path / "models"))
    publish_text(base, "one")
    (tmp_path / "models/1/more").symlink_to(tmp_path)
    with pytest.raises(ContractError, match="holds the symbolic link more"):
        base.fetch(1, tmp_path)


def test_golden_examples_name_files_of_their_own_folder_alone(tmp_path: Path) -> None:
    (tmp_path / GOLDEN_FOLDER).mkdir()
    (tmp_path / "secret").write_bytes(bytes(PIXEL_BYTES))
    for pixels, encoded in (("../secret", "0.png"), ("0.rgb", str(tmp_path / "secret"))):
        write_json(
            tmp_path / GOLDEN_FOLDER / EXAMPLES_FILE, GoldenList((GoldenFiles("drugs", pixels, 0.5, encoded, 0.5),))
        )
        with pytest.raises(ContractError, match="is not one to put into"):
            read_golden(tmp_path)


def test_another_kind_of_place_is_refused() -> None:
    with pytest.raises(SettingsError, match="s3://bucket/prefix"):
        open_model_base("gs://bucket/models")
