"""How long servers have had problems, look by look."""

from __future__ import annotations

import pytest

from sniffer.core.redaction import SecretUrl
from sniffer_rollout.health import Health
from sniffer_rollout.targets.target import Replicas

URL = (SecretUrl("http://one"),)
CRASHED = Replicas((), 1, problems=("pod p: CrashLoopBackOff",), restarts={"p/c": 1})
STARTED = Replicas(URL, 1, recovering=("pod p: started again",), restarts={"p/c": 1})
WELL = Replicas(URL, 1, restarts={"p/c": 1})


def restarted(count: int) -> Replicas:
    """Ready at each look, but started again in between."""
    return Replicas(URL, 1, restarts={"p/c": count})


@pytest.mark.parametrize(
    ("looks", "last"),
    [
        ([CRASHED, CRASHED], 100),
        ([CRASHED, STARTED, CRASHED, STARTED, CRASHED], 400),
        ([CRASHED, WELL, CRASHED], 200),
        # Started again and not ready is no proof of health, however long it takes.
        ([CRASHED, *[STARTED] * 9, CRASHED], 1000),
        ([restarted(0), restarted(1), restarted(2), restarted(4)], 200),
        # Well for as long as recovery takes: what comes then is a new problem.
        ([CRASHED, *[WELL] * 6, CRASHED], 0),
        ([WELL, WELL, WELL], 0),
        ([CRASHED, WELL], 0),
        ([Replicas((), 1, unplaced=("pod p has no node",))] * 3, 200),
        ([Replicas(URL, 2, unplaced=("pod p has no node",))] * 3, 0),
    ],
)
def test_problems_last_until_the_servers_have_been_well_for_long(looks: list[Replicas], last: float) -> None:
    health = Health(recovery_s=500)
    found = [health.look(replicas, 1000 + 100 * number) for number, replicas in enumerate(looks)]
    assert found[-1] == last


def test_crashes_are_counted_from_the_first_look() -> None:
    health = Health(recovery_s=500)
    for number, count in enumerate((7, 7, 8, 10)):
        health.look(restarted(count), number)
    health.look(Replicas(URL, 1, restarts={"new/c": 2}), 9)
    assert health.crashes == 3


def test_a_crash_loop_is_not_over_because_it_crashes_slowly() -> None:
    """Ready for longer than a problem takes to be over, again and again; ten minutes without a crash end it."""
    health = Health(recovery_s=30)
    looks = [(0, 0), (100, 1), (150, 1), (200, 2), (250, 2), (300, 3)]
    assert [health.look(restarted(count), now) for now, count in looks] == [0, 0, 0, 0, 0, 100]
    assert health.look(restarted(3), 850) == 0
    assert health.look(restarted(4), 899) == 699
    assert health.look(restarted(4), 1499) == 0
    assert health.look(restarted(5), 1500) == 0


def test_single_crashes_of_several_servers_are_no_loop() -> None:
    health = Health(recovery_s=30)
    looks = [({"a": 0, "b": 0}, 0), ({"a": 1, "b": 0}, 100), ({"a": 1, "b": 0}, 150), ({"a": 1, "b": 1}, 200)]
    found = [health.look(Replicas(URL, 2, restarts=restarts), now) for restarts, now in looks]
    assert found == [0, 0, 0, 0]
    assert health.look(Replicas(URL, 2, restarts={"a": 1, "b": 1}), 240) == 0
    assert health.look(Replicas(URL, 2, restarts={"a": 1, "b": 2}), 250) == 0
