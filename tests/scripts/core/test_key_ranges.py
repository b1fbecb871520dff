"""Key ranges have each key once, in the order of S3, and a set of them that has not is refused with the place."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sniffer.core.key_ranges import KeyRange, key_bytes, tiling_faults

KEYS = st.text(st.sampled_from("aé\ue000\U0001f600\udc80\udcff/"), min_size=1, max_size=4)


def test_a_range_is_open_below_and_closed_above() -> None:
    keys = KeyRange("b", "d")
    assert [key for key in ("a", "b", "b\x00", "c", "d", "d\x00", "e") if keys.contains(key)] == ["b\x00", "c", "d"]
    assert KeyRange().contains("\x00") and KeyRange().is_whole
    assert KeyRange("b").contains("\U0010ffff") and not KeyRange("b").contains("b") and not KeyRange("b").is_whole


def test_keys_are_ordered_by_bytes_and_not_as_python_orders_texts() -> None:
    # The byte 0x80, which is no UTF-8, is before the two bytes of é, and 0xFF after the four of an emoji.
    assert "\udc80" > "é" and KeyRange("\udc80", "é").contains("é")
    assert "\udcff" < "\ufffd" and KeyRange("\U0001f600", "\udcff").contains("\udcff")
    with pytest.raises(ValueError, match="the second must be greater"):
        KeyRange("é", "\udc80")


@pytest.mark.parametrize("end", ["", "a", "b"])
def test_a_range_that_no_key_can_be_in_is_refused(end: str) -> None:
    with pytest.raises(ValueError, match="no key is after 'b'"):
        KeyRange("b", end)


@given(st.sets(KEYS, min_size=1, max_size=8), st.lists(KEYS, max_size=20), st.randoms())
def test_ranges_cut_at_any_keys_have_every_key_once(cuts: set[str], keys: list[str], chance: random.Random) -> None:
    ends = sorted(cuts, key=key_bytes)
    ranges = [KeyRange(after, up_to) for after, up_to in zip(["", *ends], [*ends, None], strict=True)]
    chance.shuffle(ranges)
    assert tiling_faults(ranges) == []
    for key in [*keys, *cuts]:
        assert sum(one.contains(key) for one in ranges) == 1
    lost = ranges.pop()
    faults = tiling_faults(ranges)
    assert len(faults) == 1 and "a gap" in faults[0] and str(lost) in faults[0]
    assert any("an overlap" in fault for fault in tiling_faults([*ranges, lost, lost]))


@pytest.mark.parametrize(
    ("ranges", "fault"),
    [
        ([], "a gap: no range has the keys of ('', end]"),
        ([KeyRange("", "b"), KeyRange("c")], "a gap: no range has the keys of ('b', 'c']"),
        ([KeyRange("b")], "a gap: no range has the keys of ('', 'b']"),
        ([KeyRange("", "b")], "a gap: no range has the keys of ('b', end]"),
        ([KeyRange("", "c"), KeyRange("b")], "an overlap: ('b', end] begins before 'c', where another ends"),
        ([KeyRange("", "z"), KeyRange("b", "c"), KeyRange("z")], "an overlap: ('b', 'c'] begins before 'z'"),
        ([KeyRange(), KeyRange("b")], "an overlap: ('b', end] begins before end, where another ends"),
    ],
)
def test_each_gap_and_overlap_is_named(ranges: list[KeyRange], fault: str) -> None:
    assert [found[: len(fault)] for found in tiling_faults(ranges)] == [fault]


@pytest.mark.parametrize(
    ("ranges", "fault"),
    [
        ([KeyRange("b", "d")], ""),
        ([KeyRange("b", "c")], "a gap: no range has the keys of ('c', 'd']"),
        ([KeyRange("b", "e")], "a range ends at 'e', beyond ('b', 'd']"),
        ([KeyRange("b")], "a range has no end, beyond that of ('b', 'd']"),
        ([KeyRange("a", "d")], "an overlap: ('a', 'd'] begins before 'b'"),
    ],
)
def test_a_part_of_all_keys_is_tiled_the_same_way(ranges: list[KeyRange], fault: str) -> None:
    found = tiling_faults(ranges, KeyRange("b", "d"))
    assert [each[: len(fault)] for each in found] == ([fault] if fault else [])
