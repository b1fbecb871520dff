"""Which versions are served when: the pure decisions, and the manager on real folders, without TensorFlow."""

import threading
import time
from contextlib import contextmanager

import pytest

from sniffer.core.errors import ContractError, SettingsError
from sniffer_serve.config import ModelEntry
from sniffer_serve.errors import Code, StatusError
from sniffer_serve.manager import ModelManager, WatchSettings
from sniffer_serve.versions import (
    All,
    Latest,
    RetryPolicy,
    Specific,
    State,
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
def test_a_version_folder_is_named_by_a_whole_number(name, version):
    assert parse_version(name) == version


def test_files_and_other_folders_are_no_versions(tmp_path):
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
def test_the_policy_picks_among_the_folders(policy, aspired, tmp_path):
    assert set(aspired_versions(policy, dict.fromkeys((1, 3, 9), tmp_path))) == aspired


def plan(aspired, now=0.0, **versions):
    states = {int(name[1:]): state for name, state in versions.items()}
    return plan_changes(dict.fromkeys(aspired), states, RetryPolicy(1, 10.0), now)


UP = VersionState(State.AVAILABLE)


def test_a_new_version_is_loaded_before_the_old_one_goes():
    assert plan({2}, v1=UP).load == (2,)
    assert plan({2}, v1=UP).unload == ()
    assert plan({2}, v1=UP, v2=UP).unload == (1,)


def test_a_failed_version_leaves_the_old_one_and_is_due_again_later():
    failed = VersionState(State.END, failures=1, retry_at=10.0)
    early, late = plan({2}, v1=UP, v2=failed), plan({2}, now=10.0, v1=UP, v2=failed)
    assert (early.load, early.unload, early.next_retry_at) == ((), (), 10.0)
    assert late.load == (2,)
    given_up = plan({2}, now=99.0, v1=UP, v2=VersionState(State.END, failures=2, retry_at=20.0))
    assert (given_up.load, given_up.unload, given_up.next_retry_at) == ((), (), None)


def test_when_every_folder_is_gone_the_model_goes():
    assert plan(set(), v1=UP, v2=UP).unload == (1, 2)


def test_a_version_that_was_unloaded_can_come_back():
    assert plan({1}, v1=VersionState(State.END), v2=UP).load == (1,)


def test_what_is_loading_or_unloading_is_left_alone():
    changes = plan({1, 2}, v1=VersionState(State.LOADING), v2=VersionState(State.UNLOADING))
    assert (changes.load, changes.unload) == ((), ())


class Loaded:
    """What the tests' loader makes of a folder: its text file, until closed."""

    def __init__(self, text):
        self.text = text
        self.closed = threading.Event()

    def close(self):
        self.closed.set()


def load(folder):
    if not (folder / "model").exists():
        raise StatusError(Code.NOT_FOUND, f"no model in {folder}")
    return Loaded((folder / "model").read_text())


def publish(base_path, number, text="ok"):
    folder = base_path / str(number)
    (base_path / "tmp").mkdir(parents=True)
    (base_path / "tmp" / "model").write_text(text)
    (base_path / "tmp").rename(folder)
    return folder


SWIFT = WatchSettings(0.02, 0.02, RetryPolicy(2, 0.05), allow_labels_for_unavailable=True)


@contextmanager
def managed(entries, settings=SWIFT, read_config=None, load=load):
    manager = ModelManager(entries, load, settings, read_config=read_config)
    manager.start()
    try:
        yield manager
    finally:
        manager.stop(5)


def ready(manager):
    assert manager.wait_until_ready(5)
    return manager


def eventually(condition, timeout_s=5.0):
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "did not happen in time"
        time.sleep(0.005)


def states(manager, name="m"):
    return {line.version: line.state for line in manager.status(name)}


def refusal(manager, number=None):
    with pytest.raises(StatusError) as caught, manager.lease("m", number):
        pass
    assert caught.value.code == Code.NOT_FOUND
    return caught.value.message


def test_a_base_path_without_versions_is_waited_for(tmp_path):
    with managed([ModelEntry("m", tmp_path / "not_there_yet")]) as manager:
        assert not manager.wait_until_ready(0.1)
        with pytest.raises(StatusError, match="Could not find any versions of model m") as caught:
            manager.status("m")
        assert caught.value.code == Code.NOT_FOUND
        publish(tmp_path / "not_there_yet", 1)
        ready(manager)
        assert states(manager) == {1: State.AVAILABLE}


def test_looking_only_once_does_not_wait_for_a_base_path_without_versions(tmp_path):
    refused = pytest.raises(ContractError, match="model m cannot be served: no version to serve under")
    with managed([ModelEntry("m", tmp_path)], WatchSettings(0)) as manager, refused:
        manager.wait_until_ready(5)


def test_a_model_whose_only_version_fails_for_good_ends_the_start(tmp_path):
    (tmp_path / "1").mkdir()
    publish(tmp_path, 0)
    refused = pytest.raises(ContractError, match="model m cannot be served: no model in")
    with managed([ModelEntry("m", tmp_path)]) as manager, refused:
        manager.wait_until_ready(5)


def test_a_version_in_use_stays_until_its_last_user_is_done(tmp_path):
    publish(tmp_path, 1)
    with managed([ModelEntry("m", tmp_path)]) as manager:
        with ready(manager).lease("m") as (number, first):
            publish(tmp_path, 2)
            eventually(lambda: states(manager) == {1: State.UNLOADING, 2: State.AVAILABLE})
            assert number == 1
            assert not first.closed.is_set()
            assert refusal(manager, 1) == "Servable not found for request: Specific(m, 1)"
        assert first.closed.wait(5)
        eventually(lambda: states(manager) == {1: State.END, 2: State.AVAILABLE})


def test_removing_the_largest_version_goes_back_and_removing_all_unloads(tmp_path):
    one, two = publish(tmp_path, 1), publish(tmp_path, 2)
    with managed([ModelEntry("m", tmp_path)]) as manager:
        assert states(ready(manager)) == {2: State.AVAILABLE}
        two.rename(tmp_path / "old")
        eventually(lambda: states(manager) == {1: State.AVAILABLE, 2: State.END})
        one.rename(tmp_path / "older")
        eventually(lambda: states(manager) == {1: State.END, 2: State.END})
        assert refusal(manager) == "Servable not found for request: Latest(m)"
        (tmp_path / "old").rename(two)
        eventually(lambda: states(manager) == {1: State.END, 2: State.AVAILABLE})


def test_a_base_path_that_is_away_for_a_moment_unloads_nothing(tmp_path):
    base_path = tmp_path / "base"
    publish(base_path, 1)
    with managed([ModelEntry("m", base_path)]) as manager:
        ready(manager)
        base_path.rename(tmp_path / "elsewhere")
        time.sleep(0.2)
        assert states(manager) == {1: State.AVAILABLE}


def test_a_half_written_version_is_retried_a_few_times_and_starts_anew_when_it_comes_back(tmp_path):
    publish(tmp_path, 1)
    tries = []

    def counted(folder):
        tries.append(folder.name)
        return load(folder)

    with managed([ModelEntry("m", tmp_path)], load=counted) as manager:
        ready(manager)
        (tmp_path / "2").mkdir()
        eventually(lambda: tries.count("2") == 3)
        time.sleep(0.2)
        assert tries.count("2") == 3
        status = manager.status("m")
        assert [(line.version, line.state, line.code) for line in status] == [
            (2, State.END, Code.NOT_FOUND),
            (1, State.AVAILABLE, Code.OK),
        ]
        assert "no model in" in status[0].message
        (tmp_path / "2").rmdir()
        time.sleep(0.1)
        publish(tmp_path, 2)
        eventually(lambda: states(manager) == {1: State.END, 2: State.AVAILABLE})


def test_a_version_that_is_completed_between_tries_is_served(tmp_path):
    publish(tmp_path, 1)
    with managed([ModelEntry("m", tmp_path)]) as manager:
        ready(manager)
        (tmp_path / "2").mkdir()
        eventually(lambda: states(manager).get(2) == State.END)
        (tmp_path / "2" / "model").write_text("complete")
        eventually(lambda: states(manager) == {1: State.END, 2: State.AVAILABLE})


@pytest.mark.parametrize("number", [None, 2])
def test_status_of_an_unknown_model_or_version_is_not_found(tmp_path, number):
    publish(tmp_path, 1)
    with managed([ModelEntry("m", tmp_path)]) as manager:
        ready(manager)
        with pytest.raises(StatusError) as caught:
            manager.status("m" if number else "x", number)
        assert caught.value.code == Code.NOT_FOUND


class Config:
    """A config that tests change under the manager's eyes."""

    def __init__(self, *entries):
        self.entries = entries
        self.error = None

    def __call__(self):
        if self.error:
            raise SettingsError(self.error)
        return self.entries


def label_of(manager, label):
    with manager.lease("m", label=label) as (number, _):
        return number


def test_a_label_moves_only_to_a_version_that_is_loaded(tmp_path):
    publish(tmp_path, 1)
    publish(tmp_path, 2)
    one, both = Specific(frozenset({1})), Specific(frozenset({1, 2}))
    config = Config(ModelEntry("m", tmp_path, one, {"stable": 1}))
    with managed(config.entries, read_config=config) as manager:
        assert label_of(ready(manager), "stable") == 1
        config.entries = (ModelEntry("m", tmp_path, both, {"stable": 2}),)
        time.sleep(0.2)
        # Refused as a whole: neither the label nor the policy has changed.
        assert label_of(manager, "stable") == 1
        assert states(manager) == {1: State.AVAILABLE}
        config.entries = (ModelEntry("m", tmp_path, both, {"stable": 1}),)
        eventually(lambda: states(manager) == {1: State.AVAILABLE, 2: State.AVAILABLE})
        config.entries = (ModelEntry("m", tmp_path, Specific(frozenset({2})), {"stable": 2}),)
        eventually(lambda: states(manager) == {1: State.END, 2: State.AVAILABLE})
        assert label_of(manager, "stable") == 2
        with pytest.raises(StatusError, match="Unrecognized servable version label: canary") as caught:
            label_of(manager, "canary")
        assert caught.value.code == Code.INVALID_ARGUMENT


def test_a_label_at_the_start_needs_the_flag(tmp_path):
    publish(tmp_path, 1)
    entry = ModelEntry("m", tmp_path, labels={"stable": 1})
    with pytest.raises(SettingsError, match="--allow_version_labels_for_unavailable_models"):
        ModelManager([entry], load, WatchSettings()).start()


def test_models_come_and_go_with_the_config_and_a_broken_one_changes_nothing(tmp_path):
    publish(tmp_path / "a", 1)
    publish(tmp_path / "b", 1)
    a, b = ModelEntry("a", tmp_path / "a"), ModelEntry("b", tmp_path / "b")
    config = Config(a)
    with managed(config.entries, read_config=config) as manager:
        ready(manager)
        config.error = "torn file"
        time.sleep(0.1)
        assert states(manager, "a") == {1: State.AVAILABLE}
        config.error, config.entries = None, (b,)
        eventually(lambda: states(manager, "a") == {1: State.END})
        eventually(lambda: states(manager, "b") == {1: State.AVAILABLE})


def test_no_lease_is_ever_refused_while_versions_change(tmp_path):
    publish(tmp_path, 1)
    with managed([ModelEntry("m", tmp_path)]) as manager:
        ready(manager)
        failures, seen, stop = [], set(), threading.Event()

        def hammer():
            while not stop.is_set():
                try:
                    with manager.lease("m") as (number, loaded):
                        seen.add(number)
                        if loaded.closed.is_set():
                            failures.append(f"version {number} was closed in use")
                except StatusError as error:
                    failures.append(error)

        threads = [threading.Thread(target=hammer) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(2, 8):
            publish(tmp_path, number)
            eventually(lambda wanted=number: states(manager).get(wanted) == State.AVAILABLE)
        stop.set()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(seen) > 2
