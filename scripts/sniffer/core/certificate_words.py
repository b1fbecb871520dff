"""What a certificate says in words, for its text and for Airflow's log: a count of 0 may be read in two ways."""

from __future__ import annotations

from sniffer.core.records import Certificate, Outcome


def found_in_words(certificate: Certificate, *, retried: bool = False) -> str:
    """What there was to do; `retried` says that only what had failed before was to be tried again."""
    listed, outcomes = certificate.listed, certificate.outcomes
    unchanged, skipped = outcomes.get(Outcome.UNCHANGED, 0), outcomes.get(Outcome.SKIPPED, 0)
    if not listed and retried:
        return "nothing to try again: no image under that prefix has failed"
    if not listed:
        windowed = certificate.since or certificate.until
        return "nothing: no object was listed" + (" that was modified in that time" if windowed else "")
    if unchanged == listed:
        return f"nothing new: all {listed} listed objects have a result of model version {certificate.model_version}"
    if unchanged + skipped == listed:
        return f"nothing new: {unchanged} of {listed} listed objects have a result, {skipped} are left out by rule"
    return f"{listed - unchanged - skipped} of {listed} listed objects were to be scored"


def late_in_words(certificate: Certificate) -> str:
    """How many objects came late, and where they were looked for; empty for a scan that does not look back."""
    places = [f"under {prefix}" for prefix in certificate.late_prefixes]
    if certificate.late_before:
        places.append(f"modified before {certificate.late_before.isoformat()}")
    if not places:
        return ""
    return f"{certificate.late or 'none'} that no scan had seen before ({', '.join(places)})"


def flagged_in_words(certificate: Certificate) -> str:
    """How many images are flagged: newly by this scan, and in all."""
    if not certificate.flagged:
        return f"none at or above the threshold of {certificate.threshold:.4f}"
    return f"{certificate.flagged_new} newly, {certificate.flagged} in all"
