"""An estimate in words, for a terminal and for the question that is asked before it is carried out."""

from __future__ import annotations

from collections.abc import Iterator

from sniffer.core.estimate_records import BackfillEstimate, Span
from sniffer.core.text import printable

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def in_bytes(size_bytes: float) -> str:
    """`1.2 TB`."""
    unit = 0
    while size_bytes >= 1000 and unit < len(_UNITS) - 1:
        size_bytes, unit = size_bytes / 1000, unit + 1
    return f"{size_bytes:,.0f} bytes" if unit == 0 else f"{size_bytes:,.1f} {_UNITS[unit]}"


def in_words(span: Span, digits: int = 0) -> str:
    """`about 12 (9 to 20)`; an exact one is the number alone."""
    if span.is_exact:
        return f"{span.likely:,.{digits}f}"
    return f"about {span.likely:,.{digits}f} ({span.least:,.{digits}f} to {span.most:,.{digits}f})"


def figures(estimate: BackfillEstimate) -> Iterator[tuple[str, str]]:
    """Each figure by its name."""
    yield "objects", f"{estimate.listed:,}, {in_bytes(estimate.size_bytes)}, in {estimate.shard_count} shards"
    yield "known", f"{estimate.unchanged:,} have a result of model version {estimate.model_version} already"
    yield "new", f"{estimate.new:,} are fetched, {in_bytes(estimate.new_bytes)}"
    yield "duplicates", f"{in_words(estimate.duplicates)} of these, by ETag and size; the model is not asked"
    yield "archived", _archived(estimate)
    left_out = [
        *([f"{estimate.skipped:,} by rule"] if estimate.skipped else []),
        *([f"{estimate.unfetched:,} too large, or with a key that cannot be asked for"] if estimate.unfetched else []),
        *([f"{estimate.refused:,} that S3 refuses"] if estimate.refused else []),
    ]
    yield "left out", ", ".join(left_out) or "0"
    yield "S3 requests", f"{estimate.list_requests:,} LIST, {estimate.get_requests:,} GET"
    yield "hours", _hours(estimate)
    yield "GPU hours", "unknown" if estimate.gpu_hours is None else in_words(estimate.gpu_hours, 1)
    yield "cost", _cost(estimate)
    yield "prices", prices(estimate)


def _archived(estimate: BackfillEstimate) -> str:
    if not estimate.archived:
        found = "0"
    else:
        of_class = ", ".join(f"{one.objects:,} {one.storage_class}" for one in estimate.archived)
        size_bytes = sum(one.size_bytes for one in estimate.archived)
        found = f"{estimate.archived_objects:,} ({of_class}; {in_bytes(size_bytes)}) cannot be read before a restore"
    hidden = f"; {estimate.may_be_archived:,} in INTELLIGENT_TIERING may be" if estimate.may_be_archived else ""
    return found + hidden


def _hours(estimate: BackfillEstimate) -> str:
    if estimate.hours is None or estimate.images_per_s is None:
        return "unknown: no scan has measured its pace with this model version yet"
    return (
        f"{in_words(estimate.hours, 1)}, {estimate.at_a_time} at a time, at {estimate.images_per_s:,.1f} images/s each "
        f"as {estimate.basis} measured with {estimate.consumers} consumers"
    )


def _cost(estimate: BackfillEstimate) -> str:
    parts = ", ".join(f"{name} {price:,.2f}" for name, price in estimate.cost_parts.items() if price)
    if estimate.cost is None:
        return f"unknown without hours; known of it in {estimate.currency}: {parts or '0.00'}"
    return f"{in_words(estimate.cost, 2)} {estimate.currency}{f': {parts}' if parts else ''}"


def prices(estimate: BackfillEstimate) -> str:
    """Whose prices these are, and of when."""
    if estimate.rates_are_examples:
        return f"examples of {estimate.rates_as_of}, not yours: give your own (Variable sniffer_rates, or --rates)"
    return f"as of {estimate.rates_as_of}"


def describe(estimate: BackfillEstimate) -> str:
    """For a terminal."""
    lines = [f"estimate of s3://{estimate.bucket}/{printable(estimate.prefix)}, scan {estimate.scan_id}"]
    lines += [f"{name:>12}  {text}" for name, text in figures(estimate)]
    if estimate.growth is not None:
        lines.append(f"{'growth':>12}  at most {estimate.growth:.1%}, up to {estimate.most_listed:,} objects")
    lines.append(f"{'digest':>12}  {estimate.digest}")
    return "\n".join(lines)
