"""Rollouts that SIGKILL ends at every point where others see a difference, and what comes after them."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from support.programs import Program, eventually
from support.replicas import KILLED, Site

from sniffer.core.model_records import ModelStatus
from sniffer_rollout.aspired import ASPIRED_FILE

QUICK = ("--latency-floor-ms=10000", "--latency-rounds=1")
TELLING = ["aspired.json", "models.config"]
CHANGES = [*4 * TELLING, "transaction", "commit", *2 * TELLING]
"""Of a whole rollout: loaded, canary, verified, stable; `models`; and what nobody needs is taken away, in two moves."""
COMMITTED = CHANGES.index("commit") + 1
"""A kill before a later change finds the version stable in `models`."""


@pytest.fixture
def second(site: Site) -> Site:
    """Version 1 is stable and served, version 2 published."""
    site.publish(1, status=ModelStatus.STABLE)
    site.step("restore")
    site.publish(2, "other")
    return site


def killed_before(change: int, site: Site, step: str = "run", *flags: str) -> None:
    """Run the step in a process of its own until right before that change, from 1 on, where SIGKILL ends it."""
    with Program(KILLED, str(change), *site.argv(step), *flags) as program:
        eventually(lambda: program.process.poll() is not None, "the program has ended")
        assert program.process.returncode == -signal.SIGKILL, program.text()
    assert not site.report.exists() or json.loads(site.report.read_text())["step"] != step


def look_at_production(site: Site, *, committed: bool) -> None:
    """`models` is of before or of after, never between, and scans are answered by the stable version everywhere."""
    assert site.statuses() == ({1: "previous", 2: "stable"} if committed else {1: "stable", 2: "blessed"})
    with site.database() as database:
        assert [one.version for one in database.models.stable_changes()] == ([1, 2] if committed else [1])
    assert all((2 if committed else 1) in replica.available() for replica in site.replicas)


def look_at_what_is_left(site: Site, *, committed: bool) -> None:
    """Nothing is loaded or asked for that production does not need."""
    site.eventually_served([1, 2] if committed else [1], stable=2 if committed else 1)
    told = json.loads((Path(site.target.removeprefix("local:")) / ASPIRED_FILE).read_text())
    assert (told["versions"], told["labels"]) == (([1, 2], {"stable": 2}) if committed else ([1], {"stable": 1}))


def restore(site: Site, *, committed: bool) -> None:
    """As `restore` and `tidy_up` of the DAG do."""
    site.step("restore")
    look_at_what_is_left(site, committed=committed)


def run_again(site: Site, *, committed: bool) -> None:
    site.step("run", "--version=2", *QUICK)
    look_at_production(site, committed=True)
    look_at_what_is_left(site, committed=True)


def run_another(site: Site, *, committed: bool) -> None:
    """A run that comes to nothing has tidied up all the same."""
    site.step("run", "--version=9", status=2)
    look_at_production(site, committed=committed)
    look_at_what_is_left(site, committed=committed)


def roll_back(site: Site, *, committed: bool) -> None:
    """It goes back where there is something to go back to."""
    if committed:
        assert site.step("rollback", "--version=1")["stable"] == 1
        site.eventually_served([1, 2], stable=1)
    else:
        assert "cannot go back" in site.step("rollback", status=2)["error"]
        restore(site, committed=False)


AFTER = [
    *((change, run_again) for change in range(1, len(CHANGES) + 1)),
    *((change, restore) for change in range(1, len(CHANGES) + 1, 2)),
    *((change, run_another) for change in range(2, len(CHANGES) + 1, 2)),
    *((change, roll_back) for change in (COMMITTED - 2, COMMITTED + 1)),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "then"), AFTER, ids=[f"{change}-{CHANGES[change - 1]}-{then.__name__}" for change, then in AFTER]
)
def test_whatever_comes_after_a_kill_finds_production_whole_and_leaves_no_more(
    change: int, then: Callable[..., None], second: Site
) -> None:
    killed_before(change, second, "run", *QUICK)
    committed = change > COMMITTED
    look_at_production(second, committed=committed)
    then(second, committed=committed)


def test_a_rollout_changes_nothing_but_at_these_points(second: Site) -> None:
    with Program(KILLED, "0", *second.argv("run"), *QUICK) as program:
        assert program.wait() == 0
    assert [line.removeprefix("change: ") for line in program.err if line.startswith("change: ")] == CHANGES
    look_at_what_is_left(second, committed=True)


def test_a_kill_between_the_two_files_of_a_promotion_is_taken_back_by_the_next_run(second: Site) -> None:
    killed_before(COMMITTED - 2, second, "run", *QUICK)
    look_at_production(second, committed=False)
    run_another(second, committed=False)
