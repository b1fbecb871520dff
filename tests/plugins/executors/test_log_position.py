"""Lines of a pod's log, read again after breaks: each comes once."""

from __future__ import annotations

import pytest

from sniffer_airflow.executors.log_position import LogPosition

AT = "2026-11-05T00:00:0{}Z {}\n"


def lines(*stamped: tuple[str, str]) -> list[bytes]:
    return [AT.format(stamp, text).encode() for stamp, text in stamped]


A, B, B2, C = lines(("1.1", "a"), ("2.000000005", "b"), ("2.000000005", "b2"), ("2.00000001", "c"))


@pytest.mark.parametrize(
    ("looks", "read"),
    [
        ([[A, B], [A, B], [B]], [A, B]),
        ([[A, B], [A, B, C], [B, C], [C]], [A, B, C]),
        ([[A, B], [B, B2, C]], [A, B, B2, C]),
        ([[A], [C], [A, C]], [A, C]),
        (
            [[A, b"  more of a\n"], [A, b"  more of a\n", B, b"  more of b\n"]],
            [A, b"  more of a\n", B, b"  more of b\n"],
        ),
        # Cut off, it comes again as a whole.
        ([[A, B[:-2]], [A, B]], [A, B[:-2], B]),
        ([[], [A]], [A]),
    ],
)
def test_what_was_read_before_is_left_out(looks: list[list[bytes]], read: list[bytes]) -> None:
    position = LogPosition()
    assert [line for look in looks for line in position.unread(look)] == read


def test_a_clock_that_is_set_back_hides_nothing_of_a_running_log() -> None:
    assert list(LogPosition().unread([C, A, B])) == [C, A, B]
