"""What the producer gives to Prometheus of a scan: the tally of its listing, and its ledger."""

from __future__ import annotations

from sniffer.core.metrics import CONSUMERS, CORRECTED, CREDIT, IMAGES, LISTED, LISTING_FINISHED, QUEUE, Metrics
from sniffer.core.records import Outcome
from sniffer.scan.ledger import Ledger
from sniffer.scan.listing import ListingTally


def show_scan(metrics: Metrics, tally: ListingTally, ledger: Ledger) -> None:
    """Show how far the scan is. On the loop's thread, which owns the ledger."""
    metrics.raise_to(LISTED, tally.listed)
    for outcome in Outcome:
        corrected = ledger.corrected[outcome]
        from_listing = tally.unchanged if outcome is Outcome.UNCHANGED else tally.outcomes[outcome]
        metrics.raise_to(IMAGES, from_listing + ledger.counts[outcome] + corrected, outcome=outcome)
        metrics.raise_to(CORRECTED, corrected, outcome=outcome)
    held = ledger.in_flight - ledger.to_fetch - ledger.on_hand
    for queue, images in (("to_fetch", ledger.to_fetch), ("on_hand", ledger.on_hand), ("held", held)):
        metrics.set(QUEUE, images, queue=queue)
    metrics.set(CREDIT, ledger.open_credit)
    metrics.set(CONSUMERS, len(ledger.alive))
    metrics.set(LISTING_FINISHED, tally.finished)
