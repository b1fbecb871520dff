"""Restore and roll-back work with whatever is broken: desired state, files of versions, what a killed run has left."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.published import publish_kind
from support.replicas import Site

from sniffer.core.model_records import ModelStatus
from sniffer_rollout.aspired import ASPIRED_FILE, CONFIG_FILE

QUICK = "--latency-floor-ms=10000"
GARBLED = (
    b"{",
    b"",
    b"null",
    b"\xff\xfe\x00",
    b'{"versions":["2"],"labels":{}}',
    b'{"versions":[2],"labels":{"stable":9}}',
    b'{"versions":[2],"labels":{"stable":2},"digests":{"2":"short"}}',
)


def folder_of(site: Site) -> Path:
    return Path(site.target.removeprefix("local:"))


@pytest.fixture
def second(site: Site) -> Site:
    """Version 1 is stable and served, version 2 published."""
    site.publish(1, status=ModelStatus.STABLE)
    site.step("restore")
    site.publish(2, "other")
    return site


@pytest.fixture
def promoted(second: Site) -> Site:
    """Version 2 is stable, version 1 previous, as a rollout leaves them."""
    with second.database() as database:
        database.models.promote(2)
    second.step("restore")
    second.eventually_served([1, 2], stable=2)
    return second


def test_the_desired_state_has_the_digests_of_models(promoted: Site) -> None:
    told = json.loads((folder_of(promoted) / ASPIRED_FILE).read_text())
    with promoted.database() as database:
        registered = {str(model.version): model.digest for model in database.models.of_status(*ModelStatus)}
    assert told == {"versions": [1, 2], "labels": {"stable": 2}, "digests": registered}


def test_a_desired_state_that_nobody_can_read_is_replaced(promoted: Site, capsys: pytest.CaptureFixture[str]) -> None:
    aspired = folder_of(promoted) / ASPIRED_FILE
    right = aspired.read_text()
    for text in GARBLED:
        aspired.write_bytes(text)
        refused = promoted.step("preflight", "--version=2", status=2)["error"]
        assert str(aspired) in refused and "run `sniffer rollout restore`" in refused, text
        promoted.step("restore")
        assert aspired.read_text() == right, text
    aspired.write_bytes(GARBLED[0])
    assert promoted.step("rollback")["stable"] == 1
    promoted.eventually_served([1, 2], stable=1)
    aspired.write_bytes(GARBLED[-2])
    capsys.readouterr()
    promoted.step("run", "--version=9", status=2)
    assert aspired.read_text() != GARBLED[-2].decode()


def test_labels_that_production_does_not_know_are_taken_away(promoted: Site) -> None:
    aspired = folder_of(promoted) / ASPIRED_FILE
    right = json.loads(aspired.read_text())
    aspired.write_text(json.dumps(right | {"labels": {"stable": 1, "canary": 2, "versions": 1, "by hand": 2}}))
    promoted.step("restore")
    assert json.loads(aspired.read_text()) == right


def test_a_previous_version_whose_files_are_gone_is_left_out_whatever_was_told(promoted: Site) -> None:
    shutil.rmtree(promoted.base / "1")
    report = promoted.step("restore")
    assert list(report["lost"]) == ["1"] and "there is no version 1 in" in report["lost"]["1"]
    promoted.eventually_served([2], stable=2)
    error = promoted.step("rollback", status=2)["error"]
    assert "cannot go back to version 1" in error and "there is no version 1 in" in error
    promoted.eventually_served([2], stable=2)


def test_without_the_stable_version_the_rest_is_restored_and_a_rollback_heals_it(promoted: Site) -> None:
    promoted.publish(3)
    promoted.step("load", "--version=3")
    shutil.rmtree(promoted.base / "2")
    error = promoted.step("restore", status=2)["error"]
    assert "no server serves the stable version 2 (there is no version 2 in" in error
    assert "`sniffer rollout rollback`" in error
    promoted.eventually_served([1], stable=None)
    report = promoted.step("rollback")
    assert (report["previous_stable"], report["stable"], report["previous"]) == (2, 1, 2)
    promoted.eventually_served([1], stable=1)
    assert promoted.statuses()[1] == "stable"


def test_without_the_stable_version_another_one_can_be_rolled_out(promoted: Site) -> None:
    promoted.publish(3)
    for version in (1, 2):
        shutil.rmtree(promoted.base / str(version))
    report = promoted.step("run", QUICK)
    assert report["verify"]["note"] == "the stable version 2 cannot be had any more"
    promoted.eventually_served([3], stable=3)


def swap(site: Site, version: int, kind: str) -> None:
    """Another model in the place of that version, its facts beside it, before a server can notice that it is gone."""
    other = site.base.parent / "other"
    publish_kind(site.kinds, kind, other, version)
    (site.base / str(version)).rename(other / "before")
    (other / str(version)).rename(site.base / str(version))


def test_a_stable_version_that_was_swapped_is_never_told_again(promoted: Site) -> None:
    config = folder_of(promoted) / CONFIG_FILE
    before = config.read_text()
    swap(promoted, 2, "good")
    with promoted.database() as database:
        registered = database.models.stable()
    assert registered is not None
    error = promoted.step("restore", status=2)["error"]
    assert f"version 2 in {promoted.base} is not the one in `models`: its digest is" in error
    assert registered.digest in error and "`sniffer rollout rollback`" in error
    assert config.read_text() == before
    assert promoted.step("rollback")["stable"] == 1
    promoted.eventually_served([1], stable=1)


def test_a_previous_version_that_was_swapped_is_left_out(promoted: Site) -> None:
    swap(promoted, 1, "other")
    assert "is not the one in `models`" in promoted.step("restore")["lost"]["1"]
    promoted.eventually_served([2], stable=2)


def test_a_model_base_without_any_version_unloads_nothing(promoted: Site, tmp_path: Path) -> None:
    for wrong in (tmp_path / "nowhere", tmp_path):
        promoted.model_base = str(wrong)
        assert "check --model-base-path" in promoted.step("restore", status=2)["error"]
        assert promoted.served() == [([1, 2], 2, None)] * 2


def test_another_model_base_unloads_nothing_that_serves(promoted: Site, tmp_path: Path) -> None:
    (tmp_path / "other" / "7").mkdir(parents=True)
    promoted.model_base = str(tmp_path / "other")
    assert "there is no version 2 in" in promoted.step("restore", status=2)["error"]
    assert promoted.served() == [([1, 2], 2, None)] * 2


def test_the_next_run_takes_back_what_a_killed_one_has_left_before_all_else(
    second: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    second.step("load", "--version=2")
    second.step("verify", "--version=2", QUICK)
    # What a kill in the middle of `promote` leaves, too: the label has moved, the database does not know.
    aspired = folder_of(second) / ASPIRED_FILE
    told = json.loads(aspired.read_text())
    for labels in (told["labels"], {"stable": 2}):
        aspired.write_text(json.dumps(told | {"labels": labels}))
        capsys.readouterr()
        second.step("run", "--version=9", status=2)
        assert "taking back what an earlier rollout has left" in capsys.readouterr().err
        second.eventually_served([1], stable=1)
    second.step("load", "--version=2")
    second.publish(3)
    second.step("load", "--version=3")
    second.eventually_served([1, 3], stable=1, canary=3)
