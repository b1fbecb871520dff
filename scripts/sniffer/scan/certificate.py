"""The certificate: whether every listed object is accounted for, and why not. Pure; the counts come from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sniffer.core.certificate_words import flagged_in_words, found_in_words
from sniffer.core.model_records import ModelRecord
from sniffer.core.records import Certificate, FailureSample, FencingToken, Outcome, OutcomeTally, ScanRequest
from sniffer.core.text import printable
from sniffer.scan.comparison import Comparison, CountedImages, committed, compare
from sniffer.scan.listing import ListingTally
from sniffer.scan.pace import Pace

MAX_SAMPLES = 100
_SHOWN_SAMPLES = 12


@dataclass(frozen=True, slots=True)
class StoredRows:
    """What MySQL holds of this run, how many images the whole scan has flagged, and which without a score to show."""

    tallies: tuple[OutcomeTally, ...]
    flagged_new: int
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
    error_budget: float,
    interruption: str | None = None,
    pace: Pace | None = None,
) -> Certificate:
    """Put the certificate together; `interruption` says why the scan ended early, if it did."""
    complete = tally.finished and interruption is None
    comparison = compare(acknowledged, committed(stored.tallies), complete=complete)
    counts = comparison.counts
    outcomes = {outcome: counts.get(outcome, 0) for outcome in Outcome}
    outcomes[Outcome.UNCHANGED] += tally.unchanged
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
        codes={tally.code: tally.images for tally in stored.tallies if tally.code and tally.images},
        model_version=model.version,
        model_digest=model.digest,
        preprocessing_version=preprocessing_version,
        decoder_version=decoder_version,
        run_number=token.run_number,
        threshold=model.threshold,
        duration_s=round(duration_s, 3),
        images_per_s=round(processed / duration_s, 3) if duration_s > 0 else 0.0,
        failure_samples=stored.samples[:MAX_SAMPLES],
        problems=_problems(tally, outcomes, comparison, error_budget, interruption),
        steady_images_per_s=pace.images_per_s if pace else 0.0,
        consumers=pace.consumers if pace else 0,
    )


def over_budget(processed: int, failed: int, error_budget: float) -> bool:
    """Whether more images failed than the budget allows, as a share of those that were not unchanged."""
    return failed > error_budget * processed


def _problems(
    tally: ListingTally,
    outcomes: Mapping[Outcome, int],
    comparison: Comparison,
    error_budget: float,
    interruption: str | None,
) -> tuple[str, ...]:
    """Why the certificate does not hold; none when it does."""
    return (
        *([interruption] if interruption else ()),
        *_arithmetic_problems(tally.listed, outcomes),
        *_budget_problems(sum(comparison.counts.values()), outcomes[Outcome.FAILED], error_budget),
        *comparison.problems,
    )


def _arithmetic_problems(listed: int, outcomes: Mapping[Outcome, int]) -> list[str]:
    missing = listed - sum(outcomes.values())
    if missing > 0:
        return [f"{missing} of {listed} listed images have no outcome yet"]
    if missing < 0:
        return [f"{-missing} more outcomes than listed images: this must not happen, please report it"]
    return []


def _budget_problems(processed: int, failed: int, error_budget: float) -> list[str]:
    if not over_budget(processed, failed, error_budget):
        return []
    return [f"{failed} of {processed} images failed, more than the error budget of {error_budget:.2%}"]


def describe(certificate: Certificate, *, retried: bool = False) -> str:
    """The certificate for a person, as a few lines of text; `retried` as in found_in_words()."""
    counts = certificate.outcomes
    window = f"{certificate.since or '…'} to {certificate.until or '…'}"
    lines = [
        f"scan       {certificate.scan_id}, run {certificate.run_number}",
        f"listing    s3://{certificate.bucket}/{certificate.prefix}, modified {window}"
        + (" (stopped at --limit)" if certificate.limited else ""),
        f"digest     {certificate.listing_digest}",
        f"model      version {certificate.model_version}, digest {certificate.model_digest[:16]}, "
        f"preprocessing {certificate.preprocessing_version}, decoder {certificate.decoder_version}, "
        f"threshold {certificate.threshold:.4f}",
        f"listed     {certificate.listed} = "
        + " + ".join(f"{counts.get(outcome, 0)} {outcome}" for outcome in Outcome),
        f"found      {found_in_words(certificate, retried=retried)}",
        f"flagged    {flagged_in_words(certificate)}",
        f"speed      {certificate.images_per_s:.1f} images/s over {certificate.duration_s:.1f} s",
        "verdict    " + ("the certificate holds" if certificate.holds else "THE CERTIFICATE DOES NOT HOLD"),
    ]
    lines += [f"           - {problem}" for problem in certificate.problems]
    samples = certificate.failure_samples
    lines += [f"{sample.outcome:<10} {sample.key}: {sample.code}" for sample in samples[:_SHOWN_SAMPLES]]
    if len(samples) > _SHOWN_SAMPLES:
        lines.append(f"           … and {len(samples) - _SHOWN_SAMPLES} more in the certificate")
    # A bucket's uploaders choose the keys, and with them a part of some lines.
    return "\n".join(map(printable, lines))
