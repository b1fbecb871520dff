"""Certificates of scans that were never run, for tests that store, judge or word one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sniffer.core.records import Certificate, Outcome

_EMPTY = Certificate(
    scan_id="s",
    bucket="bkt",
    prefix="",
    since=None,
    until=None,
    limited=False,
    listing_digest="0" * 64,
    listed=0,
    outcomes=dict.fromkeys(Outcome, 0),
    flagged=0,
    model_version=1,
    model_digest="d" * 64,
    preprocessing_version="1",
    threshold=0.5,
    duration_s=2.0,
    images_per_s=3.0,
    run_number=1,
)


def certificate_of(counts: Mapping[Outcome, int], **changes: Any) -> Certificate:
    """The certificate of a scan whose images ended so, and no others; `changes` are other fields."""
    outcomes = {outcome: counts.get(outcome, 0) for outcome in Outcome}
    return dataclasses.replace(_EMPTY, listed=sum(counts.values()), outcomes=outcomes, **changes)
