"""The program beside each model server: what it brings, keeps, refuses and removes."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from support.flaky_s3 import FlakyS3
from support.programs import Program, eventually
from support.published import golden_examples
from support.scratch_bucket import ScratchBucket

from sniffer.core.errors import SnifferError
from sniffer.core.model_records import LABELS, ModelFacts
from sniffer_model.export.choose_golden import write_golden
from sniffer_model.release.publish import SIGNATURES, digest_directory, publish, staging
from sniffer_rollout import sync
from sniffer_rollout.aspired import Aspired


def publish_files(base: Path, version: int, text: str = "model") -> str:
    """A version that need not be loadable, golden examples and a file that differs by version; its digest."""
    with staging(base) as staged:
        write_golden(golden_examples(1.0, [20]), staged)
        (staged / "saved_model.pb").write_text(f"{text} {version}")
        digest = digest_directory(staged)
        publish(
            staged,
            base,
            ModelFacts(0, digest, "b", "random", "h", "p", 0.5, "m", LABELS, SIGNATURES, "tests"),
            [version],
        )
    return digest


def swap_files(base: Path, version: int) -> str:
    """Another whole version in the place of that one, its facts beside it; its digest."""
    shutil.rmtree(base / str(version))
    return publish_files(base, version, "swapped")


class Places:
    """A pod's disk, and a model base."""

    def __init__(self, folder: Path) -> None:
        self.base = folder / "base"
        self.models = folder / "models" / "drug_detector"
        self.aspired = folder / "aspired.json"
        self.config = folder / "models" / "models.config"

    def wish(self, *versions: int, **labels: int) -> Aspired:
        return self.wish_registered({}, *versions, **labels)

    def wish_registered(self, digests: dict[int, str], *versions: int, **labels: int) -> Aspired:
        """As a rollout writes it: with the digests in `models`."""
        aspired = Aspired.of(versions, **labels).with_digests(digests)
        self.aspired.write_text(aspired.json())
        return aspired

    def argv(self, *flags: str, base: str = "") -> list[str]:
        return [
            f"--model-base-path={base or self.base}",
            f"--models-dir={self.models}",
            f"--aspired={self.aspired}",
            f"--config={self.config}",
            *flags,
        ]

    def once(self, status: int = 0) -> None:
        assert sync.main(self.argv("--once")) == status

    def step(self, clock: Any = time.monotonic, grace_s: float = 600.0) -> sync.Sync:
        settings = sync.SyncSettings(str(self.base), self.models, self.aspired, self.config, self.models, 0.1, grace_s)
        return sync.Sync(settings, clock)

    def on_disk(self) -> list[str]:
        return sorted(path.name for path in self.models.iterdir())

    def asks_for(self, aspired: Aspired) -> bool:
        return self.config.exists() and self.config.read_text() == aspired.server_config(self.models)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def test_before_the_first_rollout_the_config_is_an_empty_list(places: Places) -> None:
    places.once()
    assert places.config.read_text() == "model_config_list {}\n"


def test_the_config_names_a_version_only_when_its_files_are_there(places: Places) -> None:
    publish_files(places.base, 1)
    aspired = places.wish(1, stable=1)
    places.once()
    assert places.asks_for(aspired)
    assert places.on_disk() == ["1"]
    assert digest_directory(places.models / "1") == digest_directory(places.base / "1")
    places.wish(1, 2, stable=1)
    places.once()
    assert places.asks_for(aspired)
    publish_files(places.base, 2)
    places.once()
    assert places.on_disk() == ["1", "2"]


def test_a_damaged_version_is_never_offered(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    publish_files(places.base, 1)
    (places.base / "1" / "saved_model.pb").write_text("something else")
    places.wish(1, stable=1)
    places.once(status=2)
    assert "digest differs" in capsys.readouterr().err
    assert places.on_disk() == []
    assert not places.config.exists()
    places.wish(1, canary=1)
    places.once()
    assert "version 1 is left out: " in capsys.readouterr().err
    assert places.asks_for(Aspired())


def test_a_version_that_was_swapped_with_its_facts_is_never_served(
    places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    registered = publish_files(places.base, 1)
    swapped = swap_files(places.base, 1)
    places.wish_registered({1: registered}, 1, stable=1)
    places.once(status=2)
    told = capsys.readouterr().err
    assert f"version 1 in {places.base / '1'} is not the one in `models`" in told
    assert registered in told and swapped in told and "`sniffer rollout rollback`" in told
    assert places.on_disk() == [] and not places.config.exists()
    # Swapped on the server's own disk, as long as the model base is right.
    shutil.rmtree(places.base / "1")
    assert publish_files(places.base, 1) == registered
    places.once()
    swap_files(places.models, 1)
    places.once()
    assert "it is taken away and fetched again" in capsys.readouterr().err
    assert digest_directory(places.models / "1") == registered


def test_a_swapped_version_in_s3_is_not_even_fetched(
    places: Places, bucket: ScratchBucket, capsys: pytest.CaptureFixture[str]
) -> None:
    registered = publish_files(places.base, 1)
    swapped = swap_files(places.base, 1)
    for path in (path for path in (places.base / "1").rglob("*") if path.is_file()):
        bucket.put(f"models/{path.relative_to(places.base)}", path.read_bytes())
    places.wish_registered({1: registered}, 1, stable=1)
    assert sync.main(places.argv("--once", base=f"s3://{bucket.name}/models")) == 2
    told = capsys.readouterr().err
    assert registered in told and swapped in told and f"version 1 in s3://{bucket.name}/models" in told
    assert places.on_disk() == []


def test_a_state_without_digests_is_served_and_says_so(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    registered = publish_files(places.base, 1)
    places.wish(1, stable=1)
    program = places.step()
    for _ in range(3):
        program.step()
    told = capsys.readouterr().err
    assert told.count("has no digest of version 1") == 1 and "`sniffer rollout restore` writes the digests" in told
    # Once the digest comes, what is there already is compared with it.
    swap_files(places.models, 1)
    program.step()
    aspired = places.wish_registered({1: registered}, 1, stable=1)
    program.step()
    assert places.asks_for(aspired) and digest_directory(places.models / "1") == registered


@pytest.mark.parametrize("trouble", ["missing", "damaged", "swapped", "no version at all"])
def test_whatever_is_the_matter_with_the_others_the_stable_version_is_served(places: Places, trouble: str) -> None:
    digests = {version: publish_files(places.base, version) for version in (1, 2)}
    if trouble == "damaged":
        (places.base / "1" / "saved_model.pb").unlink()
    elif trouble == "swapped":
        swap_files(places.base, 1)
    else:
        shutil.rmtree(places.base / "1")
    if trouble == "no version at all":
        (places.base / "1").write_text("a file")
    places.wish_registered(digests, 1, 2, stable=2, canary=1)
    places.once()
    assert places.asks_for(Aspired.of([2], stable=2))
    # The side-car goes on trying, and brings it once it can be had.
    program = places.step()
    assert program.step().startswith("version 1 is left out: ")
    shutil.rmtree(places.base / "1", ignore_errors=True)
    (places.base / "1").unlink(missing_ok=True)
    publish_files(places.base, 1)
    assert program.step() == ""
    assert places.asks_for(Aspired.of([1, 2], stable=2, canary=1))


def test_without_the_stable_version_nothing_new_is_told(places: Places) -> None:
    digests = {version: publish_files(places.base, version) for version in (1, 2)}
    before = places.wish_registered(digests, 1, stable=1)
    places.once()
    shutil.rmtree(places.base / "2")
    for labels in ({"stable": 2}, {}):
        places.wish_registered(digests, 2, **labels)
        places.once(status=2)
        assert places.asks_for(before)


def test_what_is_damaged_on_the_disk_or_half_fetched_is_fetched_again(places: Places) -> None:
    publish_files(places.base, 1)
    shutil.copytree(places.base / "1", places.models / "1")
    (places.models / "1" / "saved_model.pb").write_text("bits rot")
    (places.models / ".fetch-1" / "1").mkdir(parents=True)
    (places.models / ".fetch-1" / "1" / "left over").touch()
    for left in (".fetch-7", ".leaving-8"):
        (places.models / left / "variables").mkdir(parents=True)
    places.wish(1)
    places.once()
    assert places.on_disk() == ["1"]
    assert digest_directory(places.models / "1") == digest_directory(places.base / "1")


def test_what_nothing_asks_for_stays_for_the_grace(places: Places) -> None:
    for version in (1, 2):
        publish_files(places.base, version)
    now = [0.0]
    program = places.step(lambda: now[0], grace_s=60)
    places.wish(1, 2)
    program.step()
    aspired = places.wish(2)
    program.step()
    assert places.asks_for(aspired)
    now[0] = 59.0
    program.step()
    assert places.on_disk() == ["1", "2"]
    # Asked for again in between, the grace begins anew.
    places.wish(1, 2)
    program.step()
    places.wish(2)
    now[0] = 100.0
    program.step()
    assert places.on_disk() == ["1", "2"]
    now[0] = 160.0
    program.step()
    assert places.on_disk() == ["2"]


def test_a_config_map_that_is_deleted_unloads_nothing(places: Places) -> None:
    publish_files(places.base, 1)
    aspired = places.wish(1, stable=1)
    places.once()
    places.aspired.unlink()
    places.once(status=1)
    assert places.asks_for(aspired)
    empty = places.wish()
    places.once()
    assert places.asks_for(empty)


def test_a_wish_that_is_no_json_changes_nothing(places: Places) -> None:
    publish_files(places.base, 1)
    aspired = places.wish(1)
    program = places.step()
    program.step()
    places.aspired.write_text("{")
    with pytest.raises(SnifferError):
        program.step()
    assert places.asks_for(aspired)


@pytest.mark.slow
def test_the_side_car_waits_for_s3_logs_changes_only_and_ends_at_once(
    places: Places, bucket: ScratchBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in (1, 2):
        publish_files(places.base, version)
        for path in sorted((places.base / str(version)).rglob("*"), key=lambda path: path.suffix == ".json"):
            if path.is_file():
                bucket.put(f"models/{path.relative_to(places.base)}", path.read_bytes())
    first = places.wish(1)
    with FlakyS3(bucket.endpoint_url) as s3:
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint_url)
        monkeypatch.setenv("SNIFFER_FETCH_PATIENCE_S", "0.5")
        argv = places.argv("--poll-s=0.1", "--grace-s=0.3", base=f"s3://{bucket.name}/models")
        with Program("sniffer_rollout.sync", *argv) as program:
            eventually(lambda: places.asks_for(first), "version 1")
            s3.away_for(3.0)
            second = places.wish(2)
            eventually(lambda: "the previous config stays" in program.text(), "the problem is logged")
            assert places.asks_for(first)
            eventually(lambda: places.asks_for(second), "version 2")
            eventually(lambda: "removed version 1" in program.text(), "version 1 is removed")
            assert places.on_disk() == ["2"]
            said = len(program.err)
            time.sleep(1.0)
            assert len(program.err) == said
            s3.away_for(60.0)
            places.wish(1)
            time.sleep(0.3)
            started_at = time.monotonic()
            program.signal(signal.SIGTERM)
            assert program.wait() == 0
            assert time.monotonic() - started_at < 1.5
    assert len([line for line in program.err if "the previous config stays" in line]) <= 2
