"""The certificate: whether every listed object is accounted for, and why not. Pure; the counts come from outside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sniffer.adapters.s3.errors import InaccessibleCode
from sniffer.core.certificate_words import flagged_in_words, found_in_words, late_in_words
from sniffer.core.key_ranges import KeyRange
from sniffer.core.model_records import ModelRecord
from sniffer.core.records import Certificate, FailureSample, FencingToken, Outcome, OutcomeTally, ScanRequest
from sniffer.core.settings import Budgets
from sniffer.core.text import printable
from sniffer.scan.breaker import Hold
from sniffer.scan.comparison import Comparison, CountedImages, committed, compare
from sniffer.scan.listing import MAX_SAMPLES, ListingTally
from sniffer.scan.pace import Pace

BUDGET_FLOOR = 5
"""So many images must be gone, or unreadable, before their share can fail a scan: 1 of 3 says little."""
_SHOWN_SAMPLES = 12


@dataclass(frozen=True, slots=True)
class StoredRows:
    """What MySQL holds of this run, and of all runs of this scan: how many images are flagged, how many are unreadable,
    and which without a score to show."""

    tallies: tuple[OutcomeTally, ...]
    flagged_new: int
    unreadable: int
    samples: tuple[FailureSample, ...]


def certify(
    request: ScanRequest,
    model: ModelRecord,
    preprocessing_version: str,
    decoder_version: int,
    token: FencingToken,
    tally: ListingTally,
    acknowledged: Mapping[Outcome, CountedImages],
    stored: StoredRows,
    *,
    duration_s: float,
    budgets: Budgets,
    interruption: str | None = None,
    pace: Pace | None = None,
    hold: Hold | None = None,
) -> Certificate:
    """Put the certificate together; `interruption` says why the scan ended early, if it did."""
    hold = hold or Hold()
    complete = tally.finished and interruption is None
    comparison = compare(acknowledged, committed(stored.tallies), complete=complete)
    counts = comparison.counts
    outcomes = {outcome: counts.get(outcome, 0) + tally.outcomes[outcome] for outcome in Outcome}
    outcomes[Outcome.UNCHANGED] += tally.unchanged
    codes = Counter[str]()
    for committed_so in stored.tallies:
        codes[committed_so.code] += committed_so.images if committed_so.code else 0
    processed = sum(counts.values())
    return Certificate(
        scan_id=request.scan_id,
        bucket=request.bucket,
        prefix=request.prefix,
        since=request.since,
        until=request.until,
        limited=tally.limited,
        listing_digest=tally.digest.hex(),
        listed=tally.listed,
        outcomes=outcomes,
        flagged=tally.flagged + sum(run.flagged for run in stored.tallies),
        flagged_new=stored.flagged_new,
        codes=dict(sorted((codes + tally.codes).items())),
        model_version=model.version,
        model_digest=model.digest,
        preprocessing_version=preprocessing_version,
        decoder_version=decoder_version,
        run_number=token.run_number,
        threshold=model.threshold,
        duration_s=round(duration_s, 3),
        images_per_s=round(processed / duration_s, 3) if duration_s > 0 else 0.0,
        failure_samples=(*tally.samples, *stored.samples)[:MAX_SAMPLES],
        problems=_problems(request, tally, outcomes, comparison, stored, budgets, interruption),
        steady_images_per_s=pace.images_per_s if pace else 0.0,
        consumers=pace.consumers if pace else 0,
        warnings=budget_warnings(tally.listed, outcomes, budgets, _unreadable_before(outcomes, stored)),
        include=request.include,
        exclude=request.exclude,
        late=tally.late,
        late_before=request.late_before,
        late_prefixes=request.late_prefixes,
        held=hold.reason,
        released=hold.released,
        key_range=request.key_range if tally.ended_at is None else KeyRange(request.key_range.after, tally.ended_at),
        rest_after=tally.ended_at,
    )


def over_budget(count: int, listed: int, budget: float) -> bool:
    """Whether more images ended so than the budget allows, as a share of those that were listed."""
    return count > budget * listed


def _problems(
    request: ScanRequest,
    tally: ListingTally,
    outcomes: Mapping[Outcome, int],
    comparison: Comparison,
    stored: StoredRows,
    budgets: Budgets,
    interruption: str | None,
) -> tuple[str, ...]:
    """Why the certificate does not hold; none when it does."""
    return (
        *([interruption] if interruption else _emptiness_problems(request, tally, outcomes)),
        *_arithmetic_problems(tally.listed, outcomes),
        *budget_problems(tally.listed, outcomes, budgets, _unreadable_before(outcomes, stored)),
        *_denial_problems(tally, outcomes, stored),
        *comparison.problems,
    )


def _emptiness_problems(request: ScanRequest, tally: ListingTally, outcomes: Mapping[Outcome, int]) -> list[str]:
    """Nothing to scan is more often a wrong prefix or pattern than the truth; an empty window is an ordinary night, and
    a range of keys may have lost its keys since it was planned."""
    if request.allow_empty or request.retry_failed or not request.key_range.is_whole:
        return []
    if not tally.seen:
        return [*empty_listing_problem(request.bucket, request.prefix)]
    if tally.listed and outcomes[Outcome.SKIPPED] == tally.listed and not (request.since or request.until):
        return [*all_left_out_problem(tally.listed)]
    return []


def empty_listing_problem(bucket: str, prefix: str) -> tuple[str]:
    """That there is nothing at all."""
    return (f"nothing is listed under s3://{bucket}/{prefix}: check bucket and prefix, or allow it with --allow-empty",)


def all_left_out_problem(listed: int) -> tuple[str]:
    """That nothing of what there is was to be scored."""
    return (
        f"all {listed} listed objects are left out by rule: check --include and --exclude, or allow it with "
        "--allow-empty",
    )


def _arithmetic_problems(listed: int, outcomes: Mapping[Outcome, int]) -> list[str]:
    missing = listed - sum(outcomes.values())
    if missing > 0:
        return [f"{missing} of {listed} listed images have no outcome yet"]
    if missing < 0:
        return [f"{-missing} more outcomes than listed images: this must not happen, please report it"]
    return []


def _unreadable_before(outcomes: Mapping[Outcome, int], stored: StoredRows) -> int:
    """How many of the unchanged images earlier runs of this scan found unreadable: a retry makes them no better."""
    return min(outcomes[Outcome.UNCHANGED], max(0, stored.unreadable - outcomes[Outcome.UNREADABLE]))


def budget_problems(
    listed: int, outcomes: Mapping[Outcome, int], budgets: Budgets, unreadable_before: int = 0
) -> list[str]:
    """Which budgets these outcomes pass. `unreadable_before`: so many more were found unreadable by earlier runs."""
    failed, gone, unreadable = (outcomes[o] for o in (Outcome.FAILED, Outcome.GONE, Outcome.UNREADABLE))
    unreadable += unreadable_before
    problems = []
    if over_budget(failed, listed, budgets.failed):
        problems.append(f"{failed} of {listed} images failed, more than the error budget of {budgets.failed:.2%}")
    if gone >= BUDGET_FLOOR and over_budget(gone, listed, budgets.gone):
        problems.append(f"{gone} of {listed} images are gone, more than the gone budget of {budgets.gone:.2%}")
    if unreadable >= BUDGET_FLOOR and over_budget(unreadable, listed, budgets.unreadable):
        budget = f"{budgets.unreadable:.2%}"
        note = _from_before(unreadable_before)
        problems.append(
            f"{unreadable} of {listed} images are unreadable, more than the unreadable budget of {budget}{note}"
        )
    return problems


def _from_before(unreadable: int) -> str:
    return f"; {unreadable} of them were found by earlier runs of this scan" if unreadable else ""


def budget_warnings(
    listed: int, outcomes: Mapping[Outcome, int], budgets: Budgets, unreadable_before: int = 0
) -> tuple[str, ...]:
    """What a certificate that holds should not be silent about."""
    gone, unreadable = outcomes[Outcome.GONE], outcomes[Outcome.UNREADABLE] + unreadable_before
    warnings = []
    if over_budget(gone, listed, budgets.gone_warning):
        warnings.append(f"{gone} of {listed} images are gone, more than is usual ({budgets.gone_warning:.2%})")
    if over_budget(unreadable, listed, budgets.unreadable_warning):
        share = f"{budgets.unreadable_warning:.2%}"
        note = _from_before(unreadable_before)
        warnings.append(f"{unreadable} of {listed} images are unreadable, more than is usual ({share}){note}")
    return tuple(warnings)


def _denial_problems(tally: ListingTally, outcomes: Mapping[Outcome, int], stored: StoredRows) -> list[str]:
    """That S3 gave nothing at all is no matter of single objects: it is the rights of whoever scans."""
    denied = sum(tallied.images for tallied in stored.tallies if tallied.code == InaccessibleCode.ACCESS_DENIED)
    denied += tally.codes[InaccessibleCode.ACCESS_DENIED]
    set_aside = sum(count for code, count in tally.codes.items() if code != InaccessibleCode.ACCESS_DENIED)
    if not denied or denied < tally.listed - set_aside or outcomes[Outcome.UNCHANGED]:
        return []
    return [f"S3 refused each of {denied} objects (AccessDenied): the credentials need s3:GetObject"]


def describe(certificate: Certificate, *, retried: bool = False) -> str:
    """The certificate for a person, as a few lines of text; `retried` as in found_in_words()."""
    counts = certificate.outcomes
    window = f"{certificate.since or '…'} to {certificate.until or '…'}"
    lines = [
        f"scan       {certificate.scan_id}, run {certificate.run_number}",
        f"listing    s3://{certificate.bucket}/{certificate.prefix}, modified {window}"
        + ("" if certificate.key_range.is_whole else f", keys {certificate.key_range}")
        + (" (stopped at --limit)" if certificate.limited else "")
        + ("" if certificate.rest_after is None else "; what comes after them is a further part of the shard"),
        f"digest     {certificate.listing_digest}",
        f"model      version {certificate.model_version}, digest {certificate.model_digest[:16]}, "
        f"preprocessing {certificate.preprocessing_version}, decoder {certificate.decoder_version}, "
        f"threshold {certificate.threshold:.4f}",
        f"listed     {certificate.listed} = "
        + " + ".join(f"{counts.get(outcome, 0)} {outcome}" for outcome in Outcome),
        f"found      {found_in_words(certificate, retried=retried)}",
        *([f"late       {late}"] if (late := late_in_words(certificate)) else []),
        f"flagged    {flagged_in_words(certificate)}",
        *_describe_more(certificate),
        f"speed      {certificate.images_per_s:.1f} images/s over {certificate.duration_s:.1f} s",
        *([f"released   {certificate.released}"] if certificate.released else []),
        "verdict    " + ("the certificate holds" if certificate.holds else "THE CERTIFICATE DOES NOT HOLD"),
    ]
    lines += [f"           - {problem}" for problem in certificate.objections]
    lines += [f"warning    {warning}" for warning in certificate.warnings]
    samples = certificate.failure_samples
    lines += [f"{sample.outcome:<10} {sample.key}: {sample.code}" for sample in samples[:_SHOWN_SAMPLES]]
    if len(samples) > _SHOWN_SAMPLES:
        lines.append(f"           … and {len(samples) - _SHOWN_SAMPLES} more in the certificate")
    # A bucket's uploaders choose the keys, and with them a part of some lines.
    return "\n".join(map(printable, lines))


def _describe_more(certificate: Certificate) -> list[str]:
    rules = [f"--include {pattern}" for pattern in certificate.include]
    rules += [f"--exclude {pattern}" for pattern in certificate.exclude]
    codes = [f"{count} {code}" for code, count in certificate.codes.items()]
    return [
        *([f"rules      {', '.join(rules)}"] if rules else []),
        *([f"codes      {', '.join(codes)}"] if codes else []),
    ]
