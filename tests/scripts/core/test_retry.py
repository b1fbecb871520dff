"""Retrying: what is tried again, how long, and what is said in the end."""

from __future__ import annotations

import pytest

from sniffer.core.errors import SettingsError, TransientError
from sniffer.core.retry import BackOff, Retry, RetryLater


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, pause_s: float) -> None:
        self.pauses.append(pause_s)
        self.now += pause_s


class Flaky:
    """Fails so often for the moment, then answers 7."""

    def __init__(self, failures: int) -> None:
        self.left = failures

    def __call__(self) -> int:
        if self.left:
            self.left -= 1
            raise RetryLater("it restarts") from ConnectionError("refused")
        return 7


def run(attempt: Flaky, patience_s: float, clock: Clock, share: float = 1.0) -> int:
    retry = Retry("the system", "start it", patience_s, first_pause_s=0.1, last_pause_s=1.0)
    return retry.call(attempt, clock=clock, sleep=clock.sleep, uniform=lambda low, high: low + share * (high - low))


def test_the_pauses_double_up_to_the_last() -> None:
    clock = Clock()
    assert run(Flaky(6), 60, clock) == 7
    assert clock.pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


def test_jitter_shortens_a_pause_by_up_to_a_half() -> None:
    clock = Clock()
    assert run(Flaky(2), 60, clock, share=0.0) == 7
    assert clock.pauses == pytest.approx([0.05, 0.1])


def test_the_end_of_patience_names_system_reason_and_way_out() -> None:
    clock = Clock()
    with pytest.raises(TransientError) as caught:
        run(Flaky(1000), 5, clock)
    assert str(caught.value) == "the system has not answered for 5 s (it restarts): start it"
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert 5 <= clock.now <= 6


def test_without_patience_there_is_one_attempt() -> None:
    attempt, clock = Flaky(1), Clock()
    with pytest.raises(TransientError, match="the system does not answer \\(it restarts\\)"):
        run(attempt, 0, clock)
    assert (attempt.left, clock.pauses) == (0, [])


def test_a_success_in_between_starts_the_pauses_again() -> None:
    back_off = BackOff(5, 60, uniform=lambda _, high: high)
    assert [back_off.next_s() for _ in range(6)] == [5, 10, 20, 40, 60, 60]
    back_off.reset()
    assert back_off.next_s() == 5


def test_what_does_not_pass_is_raised_at_once() -> None:
    def refuse() -> int:
        raise SettingsError("no permission")

    with pytest.raises(SettingsError):
        Retry("the system", "start it", 60).call(refuse)
