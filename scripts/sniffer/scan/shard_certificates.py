"""The certificate of a whole scan out of those of its shards: their sum, when they tile the keys and fit each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sniffer.core.errors import ContractError
from sniffer.core.key_ranges import ALL_KEYS, KeyRange, key_bytes, tiling_faults
from sniffer.core.records import Certificate, Outcome
from sniffer.core.settings import Budgets
from sniffer.scan.certificate import all_left_out_problem, budget_problems, budget_warnings, empty_listing_problem
from sniffer.scan.listing import MAX_SAMPLES

_SAME = (
    "bucket",
    "prefix",
    "since",
    "until",
    "include",
    "exclude",
    "late_before",
    "late_prefixes",
    "model_version",
    "model_digest",
    "preprocessing_version",
)
"""What shards of one scan have in common."""


def sum_certificates(
    scan_id: str,
    parts: Sequence[Certificate],
    budgets: Budgets,
    *,
    whole: KeyRange = ALL_KEYS,
    allow_empty: bool = False,
) -> Certificate:
    """The certificate of all shards together, under the id of the whole scan.

    It holds when each shard's does, and their sums keep within the budgets. Raises ContractError when the shards leave
    a gap in `whole` or overlap, were cut short by a limit, or are of different scans. The decoder is the oldest, after
    whose version a later scan knows what to try again. The duration is that of all scans
    one after another, whichever ran side by side.
    """
    _check(parts, whole)
    ordered = sorted(parts, key=lambda part: key_bytes(part.key_range.after))
    first = ordered[0]
    listed = sum(part.listed for part in ordered)
    outcomes = {outcome: sum(part.outcomes.get(outcome, 0) for part in ordered) for outcome in Outcome}
    codes = sum((Counter(part.codes) for part in ordered), Counter[str]())
    duration_s = sum(part.duration_s for part in ordered)
    scored = sum(count for outcome, count in outcomes.items() if outcome is not Outcome.UNCHANGED)
    own = [f"keys {part.key_range}: {problem}" for part in ordered for problem in part.objections]
    return replace(
        first,
        scan_id=scan_id,
        run_number=0,
        decoder_version=min(part.decoder_version for part in ordered),
        key_range=whole,
        listing_digest=f"{sum(int(part.listing_digest, 16) for part in ordered) % (1 << 256):064x}",
        listed=listed,
        outcomes=outcomes,
        codes=dict(sorted(codes.items())),
        flagged=sum(part.flagged for part in ordered),
        flagged_new=sum(part.flagged_new for part in ordered),
        late=sum(part.late for part in ordered),
        duration_s=duration_s,
        images_per_s=round(scored / duration_s, 3) if duration_s > 0 else 0.0,
        steady_images_per_s=0.0,
        consumers=sum(part.consumers for part in ordered),
        failure_samples=tuple(sample for part in ordered for sample in part.failure_samples)[:MAX_SAMPLES],
        problems=(
            *own,
            *(() if allow_empty or first.since or first.until else _emptiness_problems(first, listed, outcomes)),
            *budget_problems(listed, outcomes, budgets),
        ),
        warnings=(
            *_threshold_warnings(ordered),
            *_decoder_warnings(ordered),
            *budget_warnings(listed, outcomes, budgets),
        ),
        rest_after=None,
        held="; ".join(dict.fromkeys(part.held for part in ordered if part.held)),
        released="; ".join(dict.fromkeys(part.released for part in ordered if part.released)),
    )


def _threshold_warnings(parts: Sequence[Certificate]) -> tuple[str, ...]:
    thresholds = sorted({part.threshold for part in parts})
    if len(thresholds) == 1:
        return ()
    return (
        f"the threshold has changed meanwhile, from {thresholds[0]} to {thresholds[-1]} or back: each shard counts "
        "what it flagged by its own; the view `flagged_images` goes by today's",
    )


def _decoder_warnings(parts: Sequence[Certificate]) -> tuple[str, ...]:
    decoders = sorted({part.decoder_version for part in parts})
    if len(decoders) == 1:
        return ()
    return (
        f"a release with another decoder came meanwhile: decoder {decoders[0]} to {decoders[-1]}. The next scan tries "
        "again what the older one could not read",
    )


def _emptiness_problems(first: Certificate, listed: int, outcomes: Mapping[Outcome, int]) -> tuple[str, ...]:
    """Of a scan without a window, in which nothing may well have been modified. As of a scan in one piece."""
    if not listed:
        return empty_listing_problem(first.bucket, first.prefix)
    return all_left_out_problem(listed) if outcomes[Outcome.SKIPPED] == listed else ()


def _check(parts: Sequence[Certificate], whole: KeyRange) -> None:
    if faults := tiling_faults((part.key_range for part in parts), whole):
        raise ContractError(
            f"these are not the certificates of all shards: {'; '.join(faults)}: give the last one of each, once"
        )
    first = parts[0]
    for part in parts:
        for name in _SAME:
            if getattr(part, name) != getattr(first, name):
                raise ContractError(
                    f"the certificates of {first.scan_id} and {part.scan_id} are not shards of one scan: {name} is "
                    f"{getattr(first, name)!r} and {getattr(part, name)!r}"
                )
        if part.limited:
            raise ContractError(
                f"scan {part.scan_id} stopped at --limit, so that a part of its keys {part.key_range} is missing: run "
                "it without"
            )
