"""What cannot end at a key says so: nobody trusts in hours that nothing keeps."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from sniffer.core.records import ScanRequest
from sniffer.core.shard_records import ShardChoice
from sniffer.scan.produce import _bound
from sniffer.scan.request import ScanOptions

SHARD = ScanOptions(
    ScanRequest("p.1", "uploads"), None, False, None, ShardChoice("p", 1), datetime(2026, 11, 27, tzinfo=UTC)
)
AGAIN = replace(SHARD, request=replace(SHARD.request, retry_failed=True))


def bucket(*, is_ordered: bool) -> Any:
    return SimpleNamespace(is_ordered=is_ordered)


@pytest.mark.parametrize(
    ("options", "is_ordered", "why"),
    [(SHARD, False, "the bucket lists in no order"), (AGAIN, True, "only what failed")],
)
def test_a_scan_that_does_not_end_in_time_says_so(
    options: ScanOptions, is_ordered: bool, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert _bound(options, bucket(is_ordered=is_ordered)) is None
    assert f"--end-at does not end this scan, since {why}" in caplog.text


def test_one_that_does_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert _bound(SHARD, bucket(is_ordered=True)) is not None
    assert _bound(replace(SHARD, end_at=None), bucket(is_ordered=False)) is None
    assert not caplog.text


def test_a_shard_ends_after_two_hours_or_two_million_images_unless_somebody_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SNIFFER_SHARD_S", "SNIFFER_SHARD_IMAGES"):
        monkeypatch.delenv(name, raising=False)
    bound = _bound(replace(SHARD, end_at=None), bucket(is_ordered=True))
    assert bound is not None and (bound.limits.seconds, bound.limits.images) == (7200, 2_000_000)
    early = replace(bound, began_at=0.0, clock=lambda: 7199.0)
    late = replace(bound, began_at=0.0, clock=lambda: 7200.0)
    assert early.end("k", 1_999_999) is None and early.end("k", 2_000_000) == late.end("k", 0) == "k"
    assert _bound(replace(SHARD, shard=None, end_at=None), bucket(is_ordered=True)) is None, "a scan in one piece"
