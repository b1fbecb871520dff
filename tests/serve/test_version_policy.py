"""Which versions are aspired to, loaded and unloaded when: the pure decisions."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from sniffer_serve.versions import (
    All,
    Latest,
    Plan,
    RetryPolicy,
    Specific,
    State,
    VersionPolicy,
    VersionState,
    aspired_versions,
    found_versions,
    parse_version,
    plan_changes,
)


@pytest.mark.parametrize(
    ("name", "version"),
    [("1", 1), ("00000123", 123), ("0", 0), ("1.tmp", None), ("-1", None), ("v1", None), ("", None), ("²", None)]
    + [(str(2**63 - 1), 2**63 - 1), (str(2**63), None), ("9" * 5000, None), ("0" * 5000, 0)],
)
def test_a_version_folder_is_named_by_a_whole_number(name: str, version: int | None) -> None:
    assert parse_version(name) == version


def test_files_and_other_folders_are_no_versions(tmp_path: Path) -> None:
    for name in ("1", "007", "tmp.8"):
        (tmp_path / name).mkdir()
    (tmp_path / "9").write_text("a file")
    assert found_versions(tmp_path) == {1: tmp_path / "1", 7: tmp_path / "007"}


@pytest.mark.parametrize(
    ("policy", "aspired"),
    [
        (Latest(), {9}),
        (Latest(2), {9, 3}),
        (Latest(5), {1, 3, 9}),
        (Specific(frozenset({3, 4})), {3}),
        (All(), {1, 3, 9}),
    ],
)
def test_the_policy_picks_among_the_folders(policy: VersionPolicy, aspired: set[int], tmp_path: Path) -> None:
    assert set(aspired_versions(policy, dict.fromkeys((1, 3, 9), tmp_path))) == aspired


def plan(aspired: Collection[int], now: float = 0.0, **versions: VersionState) -> Plan:
    states = {int(name[1:]): state for name, state in versions.items()}
    return plan_changes(dict.fromkeys(aspired, Path("version")), states, RetryPolicy(1, 10.0), now)


UP = VersionState(State.AVAILABLE)


def test_a_new_version_is_loaded_before_the_old_one_goes() -> None:
    assert plan({2}, v1=UP).load == (2,)
    assert plan({2}, v1=UP).unload == ()
    assert plan({2}, v1=UP, v2=UP).unload == (1,)


def test_a_failed_version_leaves_the_old_one_and_is_due_again_later() -> None:
    failed = VersionState(State.END, failures=1, retry_at=10.0)
    early, late = plan({2}, v1=UP, v2=failed), plan({2}, now=10.0, v1=UP, v2=failed)
    assert (early.load, early.unload, early.next_retry_at) == ((), (), 10.0)
    assert late.load == (2,)
    given_up = plan({2}, now=99.0, v1=UP, v2=VersionState(State.END, failures=2, retry_at=20.0))
    assert (given_up.load, given_up.unload, given_up.next_retry_at) == ((), (), None)


def test_when_every_folder_is_gone_the_model_goes() -> None:
    assert plan(set(), v1=UP, v2=UP).unload == (1, 2)


def test_a_version_that_was_unloaded_can_come_back() -> None:
    assert plan({1}, v1=VersionState(State.END), v2=UP).load == (1,)


def test_what_is_loading_or_unloading_is_left_alone() -> None:
    changes = plan({1, 2}, v1=VersionState(State.LOADING), v2=VersionState(State.UNLOADING))
    assert (changes.load, changes.unload) == ((), ())
