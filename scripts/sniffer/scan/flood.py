"""Whether a scan's share of flagged images is one that its bucket's past makes likely. Pure.

From the counts of earlier scans to a prediction interval, and from this scan's counts to a verdict. A day's share is
taken for a draw of a beta distribution, and its flagged images for binomial given that share: shares of real days
differ by far more than the counts alone would make them (over-dispersion), so that a plain binomial interval around the
past would call every second day a flood.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sniffer.core.flag_records import FlagCounts, FloodRule

FALSE_ALARMS: Final = 0.001
"""At most so many of the scans whose days are like the past's are held, both ends together; a test simulates it."""
MIN_SCANS = 5
"""Fewer earlier scans say nothing about how days differ."""
MIN_SCORED = 200
"""Fewer scored images of a scan, or of all its past, have no verdict."""
MIN_FLAGGED = 10
"""No flood with fewer: a person has looked at them as quickly as at the reason of a hold. No silence either where fewer
were expected."""
HISTORY_SCANS = 60
"""So many of the last scans are the past: two months of nights."""
DAYS_DIFFER = 0.5
"""Days are taken to differ at least so much (standard deviation of the share's log-odds), however alike a few were."""

_LARGEST_SAMPLE = 10_000
"""Beyond it the counting error is nothing beside the days' differences: larger samples are scaled down to it, which
widens the interval a little, and bounds the cost of a verdict to milliseconds."""
_SPREAD_CONFIDENCE_Z = 1.645
"""Of how the days' spread is estimated: its upper end at 95 %, since five days may be alike by chance."""
_LEAST_PRECISION = 0.5


class FlagVerdict(StrEnum):
    """Where a scan's share of flagged images lies."""

    UNKNOWN = "unknown"
    INSIDE = "inside"
    ABOVE = "above"
    BELOW = "below"


@dataclass(frozen=True, slots=True)
class ShareBand:
    """The shares that are no reason to hold a scan, and what they stand on, in words."""

    low: float
    high: float
    basis: str

    def verdict(self, counts: FlagCounts) -> FlagVerdict:
        """Where a scan that has ended lies."""
        if counts.scored < MIN_SCORED:
            return FlagVerdict.UNKNOWN
        if counts.share > self.high and counts.flagged >= MIN_FLAGGED:
            return FlagVerdict.ABOVE
        if counts.share < self.low and self.low * counts.scored >= 1:
            return FlagVerdict.BELOW
        return FlagVerdict.INSIDE


def band_of(
    rule: FloodRule, history: Sequence[FlagCounts], scored: int, alarms: float = FALSE_ALARMS
) -> ShareBand | None:
    """The band of a scan of so many scored images; None where nothing can be said.

    `history` are the earlier scans of the same source by the same model version and threshold. At most `alarms` of the
    scans that are like them lie outside.
    """
    if not rule.is_on:
        return None
    if rule.high is not None:
        return ShareBand(rule.low, rule.high, "the bounds given with --flood-band")
    past = usable_past(history)
    if not past or not scored:
        return None
    share, spread = prediction(past)
    precision = max(_LEAST_PRECISION, 1 / (spread * share * (1 - share)) - 1)
    sample = min(scored, _LARGEST_SAMPLE)
    low, high = _interval(share, precision, sample, alarms / 2)
    if share * scored < MIN_FLAGGED:
        low = 0  # so few were expected that none is no news
    return ShareBand(low / sample, high / sample, basis_of(past))


def usable_past(history: Sequence[FlagCounts]) -> list[FlagCounts]:
    """The earlier scans that say something; none where they are too few."""
    past = [counts for counts in history if counts.scored][:HISTORY_SCANS]
    return past if len(past) >= MIN_SCANS and sum(counts.scored for counts in past) >= MIN_SCORED else []


def basis_of(past: Sequence[FlagCounts]) -> str:
    """What a band stands on, in words."""
    total, flagged = sum(counts.scored for counts in past), sum(counts.flagged for counts in past)
    return f"{_percent(flagged / total)} of {total:,} images in the last {len(past)} scans"


def hold_reason(
    rule: FloodRule, history: Sequence[FlagCounts], counts: FlagCounts, alarms: float = FALSE_ALARMS
) -> str:
    """Why a scan that has ended with these counts is to be held; empty when it is not."""
    band = band_of(rule, history, counts.scored, alarms)
    verdict = band.verdict(counts) if band else FlagVerdict.UNKNOWN
    if band is None or verdict in (FlagVerdict.UNKNOWN, FlagVerdict.INSIDE):
        return ""
    return reason_of(verdict, band, counts)


def early_hold_reason(
    rule: FloodRule, history: Sequence[FlagCounts], counts: FlagCounts, listed: int, alarms: float = FALSE_ALARMS
) -> str:
    """The same while it runs: a reason only when the images to come could not bring it back into the band.

    `listed` are the images known to be scored. That many, or as many as the largest earlier scan had, are taken for the
    scan's size, and none of those to come for flagged: so the order of the keys, under which one uploader's images come
    together, makes no flood, and looking often raises no false alarm. A silence shows at the end only.
    """
    size = max(counts.scored, listed, *(past.scored for past in history), MIN_SCORED)
    expected = FlagCounts(size, counts.flagged)
    band = band_of(rule, history, size, alarms)
    if band is None or band.verdict(expected) is not FlagVerdict.ABOVE:
        return ""
    return reason_of(FlagVerdict.ABOVE, band, counts)


def reason_of(verdict: FlagVerdict, band: ShareBand, counts: FlagCounts) -> str:
    """Why to hold what has these counts, in words."""
    return (
        f"{counts.flagged:,} of {counts.scored:,} scored images are flagged ({_percent(counts.share)}), {verdict} the "
        f"expected {_percent(band.low)} to {_percent(band.high)} ({band.basis})"
    )


def _percent(share: float) -> str:
    return f"{share:.2%}" if share == 0 or share >= 0.0001 else f"{share:.1e}"


def prediction(past: Sequence[FlagCounts]) -> tuple[float, float]:
    """Mean of the distribution that the next day's share is drawn from, and its variance on the scale of the log-odds.

    The days' spread is never taken for less than DAYS_DIFFER. On the scale of the log-odds a spread means the same for
    a share of 0.1 % and of 50 %.
    """
    share = _common_share(past)
    scored = sum(counts.scored for counts in past)
    days = max(spread_of(past), DAYS_DIFFER**2)
    return share, days * (1 + 1 / len(past)) + 1 / (scored * share * (1 - share))


def spread_of(counts: Sequence[FlagCounts]) -> float:
    """How much the shares of these samples differ, as a variance on the scale of the log-odds; 0 of one sample.

    Pearson's statistic against one common share, solved for the intra-class correlation (the moment estimator of the
    beta-binomial) and taken at the upper end of its interval.
    """
    freedom = len(counts) - 1
    scored = sum(sample.scored for sample in counts)
    weight = sum((sample.scored - 1) * (1 - sample.scored / scored) for sample in counts)
    if freedom < 1 or weight <= 0:
        return 0.0
    share = _common_share(counts)
    variance = share * (1 - share)
    pearson = sum((sample.flagged - sample.scored * share) ** 2 / (sample.scored * variance) for sample in counts)
    excess = pearson * freedom / _low_chi_square(freedom) - freedom
    return max(0.0, excess / weight) / variance


def _common_share(counts: Sequence[FlagCounts]) -> float:
    return (sum(sample.flagged for sample in counts) + 0.5) / (sum(sample.scored for sample in counts) + 1)


def _low_chi_square(freedom: int) -> float:
    """The 5 % quantile of chi-square (Wilson & Hilferty, PNAS 1931; exact within 3 % from 4 degrees on)."""
    part = 2 / (9 * freedom)
    return float(freedom * (1 - part - _SPREAD_CONFIDENCE_Z * math.sqrt(part)) ** 3)


def _interval(share: float, precision: float, sample: int, tail: float) -> tuple[int, int]:
    """The lowest and the highest count of a beta-binomial that lie in neither tail; each tail has at most `tail`."""
    alpha, beta = share * precision, (1 - share) * precision
    log_mass = _log_beta(alpha, beta + sample) - _log_beta(alpha, beta)
    below, low = 0.0, None
    for count in range(sample):
        below += math.exp(log_mass)
        if low is None and below > tail:
            low = count
        if below >= 1 - tail:
            return low or 0, count
        log_mass += math.log((sample - count) * (count + alpha) / ((count + 1) * (sample - count - 1 + beta)))
    return sample if low is None else low, sample


def _log_beta(alpha: float, beta: float) -> float:
    return math.lgamma(alpha) + math.lgamma(beta) - math.lgamma(alpha + beta)
