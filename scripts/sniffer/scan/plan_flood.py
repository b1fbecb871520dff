"""Whether the share of flagged images of a scan in shards is a usual one: of all its shards together, and of one. Pure.

The promise of FALSE_ALARMS is for the whole scan, into however many shards it is cut: half of it is spent on the sum of
all shards, which is judged as a scan in one piece, and half on floods of single shards, each of which has its part of
that half (Bonferroni, which holds however the shards depend on each other).

A shard is no draw of the whole: its keys belong together, and so may its flagged images. So shards differ more than
days do: never less than SHARDS_DIFFER, nor less than those of the last scans that were in shards. What is expected of
a shard is then a normal distribution of log-odds, whose far tail, unlike a beta's, is no lighter than what was seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final

from sniffer.core.flag_records import FlagCounts, FloodRule
from sniffer.core.plan_flags import PlanCounts, PlanPast
from sniffer.scan.flood import (
    FALSE_ALARMS,
    MIN_SCORED,
    FlagVerdict,
    ShareBand,
    basis_of,
    early_hold_reason,
    hold_reason,
    prediction,
    reason_of,
    spread_of,
    usable_past,
)

SHARDS_DIFFER = 1.0
"""Shards are taken to differ at least so much (standard deviation of the share's log-odds): by a factor of 2.7."""
PAST_PLANS = 3
"""The shards of so many of the last scans in shards tell how they differ."""
_WHOLE_ALARMS: Final = FALSE_ALARMS / 2
_SHARD_ALARMS: Final = FALSE_ALARMS / 2
_FEWEST_SHARDS = 5
"""Fewer shards of a past scan say nothing about how shards differ."""
_SIZES_DIFFER = 3
"""Planned sizes are right within that factor."""


def whole_hold_reason(rule: FloodRule, past: PlanPast, counts: PlanCounts) -> str:
    """Why the whole scan, all of whose shards have ended, is to be held; empty when it is not."""
    return _of_all(hold_reason(rule, _comparable(past, counts), counts.total, _WHOLE_ALARMS), counts)


def whole_early_reason(rule: FloodRule, past: PlanPast, counts: PlanCounts, coming: int) -> str:
    """The same while it goes on: a reason only when the images to come could not bring it back into the band.

    `coming` are the images of the asking shard that are known to be scored.
    """
    size = sum(expected_images(counts, past.shard, coming).values())
    return _of_all(early_hold_reason(rule, _comparable(past, counts), counts.total, size, _WHOLE_ALARMS), counts)


def shard_hold_reason(rule: FloodRule, past: PlanPast, counts: PlanCounts, part: FlagCounts) -> str:
    """Why the asking part of a shard, which has ended, is to be held alone; empty when it is not.

    Bounds that a person gave are for the whole, and say nothing of a shard. Nor is a silent shard news.
    """
    return _shard_reason(rule, past, counts, part, part.scored)


def shard_early_reason(rule: FloodRule, past: PlanPast, counts: PlanCounts, part: FlagCounts, coming: int) -> str:
    """The same while it runs; `coming` as in whole_early_reason().

    A shard whose size nobody knew when it was planned may be as large as a whole scan was.
    """
    is_known = any(each.keys for each in counts.shards if each.shard == past.shard)
    largest = 0 if is_known else max((one.scored for one in past.history), default=0)
    size = max(part.scored, expected_images(counts, past.shard, coming).get(past.shard, 0), MIN_SCORED, largest)
    return _shard_reason(rule, past, counts, part, size)


def expected_images(counts: PlanCounts, shard: int = 0, coming: int = 0) -> dict[int, int]:
    """How many images each shard may have in the end, at most, as far as one can tell.

    Of what was planned, as many as in those that have ended, within the planner's accuracy; all where none has.
    """
    ended = [each for each in counts.shards if each.is_ended]
    keys, scored = sum(each.keys for each in ended), sum(each.counts.scored for each in ended)
    share = min(1.0, _SIZES_DIFFER * scored / keys) if keys else 1.0
    return {
        each.shard: each.counts.scored
        if each.is_ended
        else max(each.counts.scored, math.ceil(share * each.keys), coming if each.shard == shard else 0)
        for each in counts.shards
    }


def shard_band(history: Sequence[FlagCounts], differ: float, scored: int, alarms: float) -> ShareBand | None:
    """The shares of one shard with so many scored images that are no reason to hold it; None: nothing can be said.

    At most `alarms` of them lie above: half of that for a share that is so high, half for images that are drawn so.
    `differ` is how much shards do, as a variance on the scale of the log-odds.
    """
    past = usable_past(history)
    if not past or scored < MIN_SCORED:
        return None
    share, days = prediction(past)
    odds = math.log(share / (1 - share)) + NormalDist().inv_cdf(1 - alarms / 2) * math.sqrt(days + differ)
    return ShareBand(0.0, _most_drawn(1 / (1 + math.exp(-odds)), scored, alarms / 2), basis_of(past))


def _shard_reason(rule: FloodRule, past: PlanPast, counts: PlanCounts, part: FlagCounts, size: int) -> str:
    if not rule.is_on or rule.has_bounds or counts.is_mixed:
        return ""
    # A shard has as many parts as it needs: all of them together have what is its.
    alarms = _SHARD_ALARMS / len(counts.shards) / 2 ** max(1, past.part)
    expected = FlagCounts(size, part.flagged)
    band = shard_band(past.history, SHARDS_DIFFER**2, size, alarms)
    if band is not None and band.verdict(expected) is FlagVerdict.ABOVE:
        # Only now: the past's shards, which can be thousands, could but widen the band.
        band = shard_band(past.history, _shards_spread(past.past_shards), size, alarms)
    if band is None or band.verdict(expected) is not FlagVerdict.ABOVE:
        return ""
    return f"of shard {past.shard} of {len(counts.shards)}, {reason_of(FlagVerdict.ABOVE, band, part)}"


def _of_all(reason: str, counts: PlanCounts) -> str:
    return reason and f"of all {len(counts.shards)} shards together, {reason}"


def _comparable(past: PlanPast, counts: PlanCounts) -> Sequence[FlagCounts]:
    return () if counts.is_mixed else past.history


def _shards_spread(past_shards: Sequence[Sequence[FlagCounts]]) -> float:
    """How much shards differ, as a variance on the scale of the log-odds."""
    scored = [[shard for shard in shards if shard.scored] for shards in past_shards[:PAST_PLANS]]
    return max([SHARDS_DIFFER**2, *(spread_of(shards) for shards in scored if len(shards) >= _FEWEST_SHARDS)])


def _most_drawn(share: float, images: int, tail: float) -> float:
    """The share above which at most `tail` of the draws of so many images lie (Chernoff's bound)."""
    enough = -math.log(tail) / images
    low, high = share, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if _divergence(middle, share) >= enough else (middle, high)
    return high


def _divergence(drawn: float, share: float) -> float:
    """Kullback-Leibler divergence of two Bernoulli distributions; infinite where the first cannot be."""
    parts = ((drawn, share), (1 - drawn, 1 - share))
    return sum(one * math.log(one / other) for one, other in parts if one > 0 and other > 0)
