"""The manager of versions on real folders, without TensorFlow: what is served, leased and let go when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from support.programs import eventually

from sniffer.core.errors import ContractError, SettingsError
from sniffer_serve.config import ModelEntry
from sniffer_serve.errors import Code, StatusError
from sniffer_serve.manager import ModelManager, WatchSettings
from sniffer_serve.versions import RetryPolicy, Specific, State, found_versions


class Loaded:
    """What the tests' loader makes of a folder: its text file, until closed."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


Manager = ModelManager[Loaded]


def load(folder: Path) -> Loaded:
    if not (folder / "model").exists():
        raise StatusError(Code.NOT_FOUND, f"no model in {folder}")
    return Loaded((folder / "model").read_text())


def publish(base_path: Path, number: int, text: str = "ok") -> Path:
    folder = base_path / str(number)
    (base_path / "tmp").mkdir(parents=True)
    (base_path / "tmp" / "model").write_text(text)
    (base_path / "tmp").rename(folder)
    return folder


SWIFT = WatchSettings(0.02, 0.02, RetryPolicy(2, 0.05), allow_labels_for_unavailable=True)


@contextmanager
def managed(
    entries: Sequence[ModelEntry],
    settings: WatchSettings = SWIFT,
    read_config: Callable[[], Sequence[ModelEntry]] | None = None,
    load: Callable[[Path], Loaded] = load,
) -> Iterator[Manager]:
    manager = ModelManager(entries, load, settings, read_config=read_config)
    manager.start()
    try:
        yield manager
    finally:
        manager.stop(5)


def is_available(manager: Manager, number: int) -> bool:
    return states(manager).get(number) == State.AVAILABLE


def ready(manager: Manager) -> Manager:
    assert manager.wait_until_ready(5)
    return manager


def states(manager: Manager, name: str = "m") -> dict[int, State]:
    return {line.version: line.state for line in manager.models.status(name)}


class Rounds:
    """Counts what the manager does again and again."""

    def __init__(self) -> None:
        self.begun = 0

    def wait_for_a_whole_one(self) -> None:
        """Return once a round has ended that began after this call."""
        seen = self.begun
        eventually(lambda: self.begun >= seen + 2, "the manager goes on")


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Rounds:
    """The manager's looks for versions, each with the changes that follow."""
    rounds = Rounds()

    def counted(base_path: Path) -> dict[int, Path]:
        rounds.begun += 1
        return found_versions(base_path)

    monkeypatch.setattr("sniffer_serve.manager.found_versions", counted)
    return rounds


def come_to(manager: Manager, expected: dict[int, State], name: str = "m") -> None:
    eventually(lambda: states(manager, name) == expected, f"{name} is {expected}")


def refusal(manager: Manager, number: int | None = None) -> str:
    with pytest.raises(StatusError) as caught, manager.models.lease("m", number):
        pass
    assert caught.value.code == Code.NOT_FOUND
    return caught.value.message


def test_a_base_path_without_versions_is_waited_for(tmp_path: Path) -> None:
    with managed([ModelEntry("m", tmp_path / "not_there_yet")]) as manager:
        assert not manager.wait_until_ready(0.1)
        with pytest.raises(StatusError, match="Could not find any versions of model m") as caught:
            manager.models.status("m")
        assert caught.value.code == Code.NOT_FOUND
        publish(tmp_path / "not_there_yet", 1)
        ready(manager)
        assert states(manager) == {1: State.AVAILABLE}


def test_looking_only_once_does_not_wait_for_a_base_path_without_versions(tmp_path: Path) -> None:
    refused = pytest.raises(ContractError, match="model m cannot be served: no version to serve under")
    with managed([ModelEntry("m", tmp_path)], WatchSettings(0)) as manager, refused:
        manager.wait_until_ready(5)


def test_a_model_whose_only_version_fails_for_good_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    publish(tmp_path, 0)
    refused = pytest.raises(ContractError, match="model m cannot be served: no model in")
    with managed([ModelEntry("m", tmp_path)]) as manager, refused:
        manager.wait_until_ready(5)


def test_a_version_in_use_stays_until_its_last_user_is_done(tmp_path: Path) -> None:
    publish(tmp_path, 1)
    with managed([ModelEntry("m", tmp_path)]) as manager:
        with ready(manager).models.lease("m") as (number, first):
            publish(tmp_path, 2)
            come_to(manager, {1: State.UNLOADING, 2: State.AVAILABLE})
            assert number == 1
            assert not first.closed.is_set()
            assert refusal(manager, 1) == "Servable not found for request: Specific(m, 1)"
        assert first.closed.wait(5)
        come_to(manager, {1: State.END, 2: State.AVAILABLE})


def test_removing_the_largest_version_goes_back_and_removing_all_unloads(tmp_path: Path) -> None:
    one, two = publish(tmp_path, 1), publish(tmp_path, 2)
    with managed([ModelEntry("m", tmp_path)]) as manager:
        assert states(ready(manager)) == {2: State.AVAILABLE}
        two.rename(tmp_path / "old")
        come_to(manager, {1: State.AVAILABLE, 2: State.END})
        one.rename(tmp_path / "older")
        come_to(manager, {1: State.END, 2: State.END})
        assert refusal(manager) == "Servable not found for request: Latest(m)"
        (tmp_path / "old").rename(two)
        come_to(manager, {1: State.END, 2: State.AVAILABLE})


def test_a_base_path_that_is_away_for_a_moment_unloads_nothing(tmp_path: Path, looks: Rounds) -> None:
    base_path = tmp_path / "base"
    publish(base_path, 1)
    with managed([ModelEntry("m", base_path)]) as manager:
        ready(manager)
        base_path.rename(tmp_path / "elsewhere")
        looks.wait_for_a_whole_one()
        assert states(manager) == {1: State.AVAILABLE}


def test_a_half_written_version_is_retried_a_few_times_and_starts_anew_when_it_comes_back(
    tmp_path: Path, looks: Rounds
) -> None:
    publish(tmp_path, 1)
    tries: list[str] = []

    def counted(folder: Path) -> Loaded:
        tries.append(folder.name)
        return load(folder)

    with managed([ModelEntry("m", tmp_path)], load=counted) as manager:
        ready(manager)
        (tmp_path / "2").mkdir()
        eventually(lambda: tries.count("2") == 3, "three tries")
        time.sleep(4 * SWIFT.retry.interval_s)
        looks.wait_for_a_whole_one()
        assert tries.count("2") == 3
        status = manager.models.status("m")
        assert [(line.version, line.state, line.code) for line in status] == [
            (2, State.END, Code.NOT_FOUND),
            (1, State.AVAILABLE, Code.OK),
        ]
        assert "no model in" in status[0].message
        (tmp_path / "2").rmdir()
        looks.wait_for_a_whole_one()
        publish(tmp_path, 2)
        come_to(manager, {1: State.END, 2: State.AVAILABLE})


def test_a_version_that_is_completed_between_tries_is_served(tmp_path: Path) -> None:
    publish(tmp_path, 1)
    with managed([ModelEntry("m", tmp_path)]) as manager:
        ready(manager)
        (tmp_path / "2").mkdir()
        eventually(lambda: states(manager).get(2) == State.END, "version 2 has failed")
        (tmp_path / "2" / "model").write_text("complete")
        come_to(manager, {1: State.END, 2: State.AVAILABLE})


@pytest.mark.parametrize("number", [None, 2])
def test_status_of_an_unknown_model_or_version_is_not_found(tmp_path: Path, number: int | None) -> None:
    publish(tmp_path, 1)
    with managed([ModelEntry("m", tmp_path)]) as manager:
        ready(manager)
        with pytest.raises(StatusError) as caught:
            manager.models.status("m" if number else "x", number)
        assert caught.value.code == Code.NOT_FOUND


class Config(Rounds):
    """A config that tests change under the manager's eyes."""

    def __init__(self, *entries: ModelEntry) -> None:
        super().__init__()
        self.entries = entries
        self.error: str | None = None

    def __call__(self) -> Sequence[ModelEntry]:
        self.begun += 1
        if self.error:
            raise SettingsError(self.error)
        return self.entries


def label_of(manager: Manager, label: str) -> int:
    with manager.models.lease("m", label=label) as (number, _):
        return number


def test_a_label_moves_only_to_a_version_that_is_loaded(tmp_path: Path) -> None:
    publish(tmp_path, 1)
    publish(tmp_path, 2)
    one, both = Specific(frozenset({1})), Specific(frozenset({1, 2}))
    config = Config(ModelEntry("m", tmp_path, one, {"stable": 1}))
    with managed(config.entries, read_config=config) as manager:
        assert label_of(ready(manager), "stable") == 1
        config.entries = (ModelEntry("m", tmp_path, both, {"stable": 2}),)
        config.wait_for_a_whole_one()
        # Refused as a whole: neither the label nor the policy has changed.
        assert label_of(manager, "stable") == 1
        assert states(manager) == {1: State.AVAILABLE}
        config.entries = (ModelEntry("m", tmp_path, both, {"stable": 1}),)
        come_to(manager, {1: State.AVAILABLE, 2: State.AVAILABLE})
        config.entries = (ModelEntry("m", tmp_path, Specific(frozenset({2})), {"stable": 2}),)
        come_to(manager, {1: State.END, 2: State.AVAILABLE})
        assert label_of(manager, "stable") == 2
        with pytest.raises(StatusError, match="Unrecognized servable version label: canary") as caught:
            label_of(manager, "canary")
        assert caught.value.code == Code.INVALID_ARGUMENT


def test_a_label_at_the_start_needs_the_flag(tmp_path: Path) -> None:
    publish(tmp_path, 1)
    entry = ModelEntry("m", tmp_path, labels={"stable": 1})
    with pytest.raises(SettingsError, match="--allow_version_labels_for_unavailable_models"):
        ModelManager([entry], load, WatchSettings()).start()


def test_models_come_and_go_with_the_config_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    publish(tmp_path / "a", 1)
    publish(tmp_path / "b", 1)
    a, b = ModelEntry("a", tmp_path / "a"), ModelEntry("b", tmp_path / "b")
    config = Config(a)
    with managed(config.entries, read_config=config) as manager:
        ready(manager)
        config.error = "torn file"
        config.wait_for_a_whole_one()
        assert states(manager, "a") == {1: State.AVAILABLE}
        config.error, config.entries = None, (b,)
        come_to(manager, {1: State.END}, "a")
        come_to(manager, {1: State.AVAILABLE}, "b")


def test_no_lease_is_ever_refused_while_versions_change(tmp_path: Path) -> None:
    publish(tmp_path, 1)
    with managed([ModelEntry("m", tmp_path)]) as manager:
        ready(manager)
        failures: list[str] = []
        seen: set[int] = set()
        stop = threading.Event()

        def hammer() -> None:
            while not stop.is_set():
                try:
                    with manager.models.lease("m") as (number, loaded):
                        seen.add(number)
                        if loaded.closed.is_set():
                            failures.append(f"version {number} was closed in use")
                except StatusError as error:
                    failures.append(str(error))

        threads = [threading.Thread(target=hammer) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(2, 8):
            publish(tmp_path, number)
            eventually(partial(is_available, manager, number), f"version {number} is served")
        stop.set()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(seen) > 2
