"""Certify stage of `scan_bucket`: the certificate as MySQL holds it, judged apart from the program that wrote it."""

from __future__ import annotations

import logging
import os
from datetime import datetime

from sniffer.core.certificate_words import flagged_in_words, found_in_words, late_in_words
from sniffer.core.errors import ContractError, HeldScan, IncompleteScan
from sniffer.core.records import Certificate
from sniffer.core.settings import database_settings
from sniffer_airflow.executors.connections import fetch, program_environ
from sniffer_airflow.forms.fields import Json

_RESUME = "clear the task `scan` (in a backfill `scan_backfill`), or `shards` for all shards that are left"

log = logging.getLogger(__name__)


def stored_certificate(scan_id: str) -> Certificate | None:
    """Read a scan's certificate by the Connection mysql_default; raises the store's errors.

    HeldScan when there is none since the scan, which is in shards, is held before all of them have ended.
    """
    from sniffer.adapters.mysql.database import Database  # SQLAlchemy: 0.5 s that parsing a DAG file must not pay

    environ = program_environ(os.environ, fetch(aws=False, serving=False))
    with Database(database_settings(environ)) as database:
        certificate = database.scans.certificate(scan_id)
        if certificate is None and (reason := database.holds.held_for(scan_id)):
            raise HeldScan(scan_id, reason)
        return certificate


def judge(scan_id: str, certificate: Certificate | None) -> Certificate:
    """The certificate, if it is this scan's, its counts add up and it holds; else IncompleteScan or ContractError."""
    if certificate is None:
        raise IncompleteScan(f"scan {scan_id} has no certificate in MySQL: {_RESUME}")
    if certificate.scan_id != scan_id:
        raise ContractError(f"MySQL holds the certificate of {certificate.scan_id} under {scan_id}")
    total = sum(certificate.outcomes.values())
    if total != certificate.listed:
        raise ContractError(
            f"scan {scan_id}: {certificate.listed} objects were listed but {total} are accounted for "
            f"({_counts(certificate)})"
        )
    if certificate.is_held:
        raise HeldScan(scan_id, certificate.held)
    if not certificate.holds:
        raise IncompleteScan(
            f"scan {scan_id}: the certificate does not hold: {'; '.join(certificate.problems)}. To do what is left, "
            f"{_RESUME}"
        )
    return certificate


def asset_extra(certificate: Certificate) -> dict[str, Json]:
    """What an event of the Asset `scanned_images` tells its consumers, as JSON-ready values."""
    return {
        "scan_id": certificate.scan_id,
        "bucket": certificate.bucket,
        "prefix": certificate.prefix,
        "since": _iso(certificate.since),
        "until": _iso(certificate.until),
        "limited": certificate.limited,
        "late": certificate.late,
        "model_version": certificate.model_version,
        "listed": certificate.listed,
        **{str(outcome): count for outcome, count in certificate.outcomes.items()},
        "flagged": certificate.flagged,
        "flagged_new": certificate.flagged_new,
        "codes": dict(certificate.codes),
        "warnings": list(certificate.warnings),
        "images_per_s": round(certificate.images_per_s, 2),
    }


def log_in_words(certificate: Certificate, *, retried: bool) -> None:
    """What the scan found, for whoever opens the task's log."""
    log.info("scan %s: %s", certificate.scan_id, found_in_words(certificate, retried=retried))
    log.info("%d listed: %s", certificate.listed, _counts(certificate))
    if late := late_in_words(certificate):
        log.info("late: %s", late)
    log.info("flagged: %s", flagged_in_words(certificate))
    for warning in certificate.warnings:
        log.warning("%s", warning)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _counts(certificate: Certificate) -> str:
    return ", ".join(f"{outcome} {count}" for outcome, count in certificate.outcomes.items())
