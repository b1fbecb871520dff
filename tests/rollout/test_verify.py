"""What verify compares: latency in turns, decisions on images that were scanned lately."""

from __future__ import annotations

import re
import time
from collections import Counter
from datetime import UTC, datetime

import pytest
from support.ended_scans import certificate_of
from support.published import photo
from support.replicas import Site
from support.scratch_bucket import ScratchBucket

from sniffer.adapters.images import DECODER_VERSION
from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.model_records import ModelStatus
from sniffer.core.records import ListedObject, Outcome, Result, ScanRequest
from sniffer.core.rollout_records import Latency
from sniffer_rollout.proofs.latency import LatencyLimits, _excess, measure
from sniffer_rollout.proofs.shadow import DecisionComparison, ShadowLimits, _check_limits, compare_scores

WHEN = datetime(2026, 11, 20, tzinfo=UTC)


def listed(key: str) -> ListedObject:
    return ListedObject("bkt", key, "e", 1, WHEN)


def test_latency_is_measured_in_turns_so_that_a_slow_minute_slows_both() -> None:
    asked: list[int] = []

    def predict(version: int) -> None:
        asked.append(version)
        time.sleep(0.01 if version == 2 else 0.002)

    found = measure(predict, (2, 1), 6, lambda _: None)
    assert sorted(asked) == [1] * 8 + [2] * 8
    assert all({*pair} == {1, 2} for pair in zip(asked[::2], asked[1::2], strict=True))
    assert asked[:4] == [1, 2, 2, 1]
    assert found[1].median_ms < 8 < found[2].median_ms <= found[2].p95_ms


@pytest.mark.parametrize(
    ("ours", "excess"),
    [
        (Latency(14.0, 39.0), None),
        (Latency(16.0, 39.0), "16.0 ms .median. for 8 images, not 10.0 ms"),
        (Latency(14.0, 41.0), "41.0 ms .95th percentile. for 8 images, not 20.0 ms"),
    ],
)
def test_slower_is_what_is_over_a_ratio_and_over_the_floor(ours: Latency, excess: str | None) -> None:
    limits = LatencyLimits(floor_ms=5.0)
    found = _excess(ours, Latency(10.0, 20.0), limits)
    assert found is None if excess is None else re.match(excess, found or "")
    assert _excess(Latency(4.0, 4.9), Latency(0.1, 0.1), limits) is None


def test_latency_without_a_measurement_is_refused() -> None:
    for limits in ({"rounds": 0}, {"batch": 0}):
        with pytest.raises(SettingsError, match="at least one round of one image"):
            LatencyLimits(**limits)


def test_each_version_decides_at_its_own_threshold() -> None:
    images = [listed(key) for key in "abcd"]
    found = compare_scores(images, [0.4, 0.5, 0.6, 0.9], [0.7, 0.69, 0.95, 0.1], (0.5, 0.7))
    assert (found.compared, found.stable_flags, found.candidate_flags) == (4, 3, 2)
    assert [(flip.key, flip.flagged_now) for flip in found.flips] == [("d", False), ("a", True), ("b", False)]
    assert (found.flip_share, found.flag_change) == (0.75, -0.25)


@pytest.mark.parametrize(
    ("found", "limits", "message"),
    [
        (DecisionComparison(3, 0, 0, ()), ShadowLimits(least=4), "only 3 scanned images .*--least-shadow-images"),
        (DecisionComparison(10, 1, 9, ()), ShadowLimits(flag_change=0.5), r"\+80.0% .*\+400 flagged images a night"),
        (DecisionComparison(10, 9, 1, ()), ShadowLimits(flag_change=0.5), r"-80.0%"),
    ],
)
def test_too_much_change_is_refused_with_its_figures(
    found: DecisionComparison, limits: ShadowLimits, message: str
) -> None:
    nightly = found.flag_change * 500
    with pytest.raises(ContractError, match=message):
        _check_limits(found, 2, limits, nightly, left_out=Counter())


def scan(site: Site, bucket: ScratchBucket, reds: list[int], version: int) -> None:
    """As if a scan by that version had scored these photos a moment ago; two of the objects are gone or changed."""
    results = []
    for number, red in enumerate(reds):
        key, data = f"images/{number}.jpg", photo(red)
        etag = bucket.put(key, data)
        modified = bucket.client.head_object(Bucket=bucket.name, Key=key)["LastModified"]
        image = ListedObject(bucket.name, key, etag, len(data), modified)
        results.append(Result(image, Outcome.PREDICTED, red / 255, number.to_bytes(32)))
    bucket.delete("images/0.jpg")
    bucket.put("images/1.jpg", photo(77))
    with site.database() as database:
        token = database.scans.open(ScanRequest("scan-1", bucket.name), version, 0.5)
        database.images.record(results, model_version=version, token=token, decoder_version=DECODER_VERSION)
        database.scans.close(
            certificate_of(
                {Outcome.PREDICTED: 900, Outcome.REUSED: 100},
                scan_id="scan-1",
                bucket=bucket.name,
                model_version=version,
                run_number=token.run_number,
            )
        )


def test_decisions_on_scanned_images_are_compared_with_the_stable_version(site: Site, bucket: ScratchBucket) -> None:
    site.publish(1, status=ModelStatus.STABLE)
    site.step("restore")
    # Of the eight that are left, 140 and 150 are at or above 0.5 by version 1 and below it by version 2.
    scan(site, bucket, [10, 20, 30, 60, 90, 110, 140, 150, 200, 240], version=1)
    site.publish(2, "other")
    site.step("load", "--version=2")
    limits = ("--latency-floor-ms=10000", "--max-flips=0.3", "--max-flag-change=0.3")
    found = site.step("verify", "--version=2", *limits)["shadow"]
    assert (found["compared"], found["flagged_by_stable"], found["flagged_by_candidate"]) == (8, 4, 2)
    assert sum(found["left_out"].values()) == 2
    assert sorted(flip["key"] for flip in found["flips"]) == ["images/6.jpg", "images/7.jpg"]
    assert found["flag_change_per_night"] == pytest.approx(-0.25 * 1000, rel=0.01)
    error = site.step("verify", "--version=2", "--latency-floor-ms=10000", "--max-flips=0.1", status=2)["error"]
    assert re.search(r"on 25.0% of 8 scanned images \(at most 10.0%, -250 flagged images a night\)", error)
    assert "s3://" in error
    error = site.step("verify", "--version=2", *limits, "--least-shadow-images=9", status=2)["error"]
    assert "only 8 scanned images" in error
    skipped = site.step("verify", "--version=2", "--latency-floor-ms=10000", "--shadow-images=0")
    assert skipped["shadow"] is None


def test_what_may_not_be_rolled_out_is_refused_beforehand(site: Site) -> None:
    def refusal(*flags: str) -> str:
        error: str = site.step("preflight", *flags, status=2)["error"]
        return error

    assert "no blessed, complete version above the stable one (none yet)" in refusal()
    assert "version 1 is not in `models`" in refusal("--version=1")
    site.publish(1)
    with site.database() as database:
        (record,) = database.models.of_status(ModelStatus.BLESSED)
        for version, changes in (
            (2, {"status": ModelStatus.REJECTED}),
            (3, {"digest": "0" * 64}),
            (4, {"preprocessing_version": "another"}),
        ):
            row = {name: getattr(record, name) for name in record.__slots__} | {"candidate_digest": str(version)}
            database.models.register(type(record)(**row | {"version": version} | changes))
    assert "version 2 is rejected" in refusal("--version=2")
    assert "no complete version 3" in refusal("--version=3")
    (site.base / "1").rename(site.base / "3")
    assert "is not the one in `models`: its digest is" in refusal("--version=3")
    (site.base / "3").rename(site.base / "4")
    assert "is registered with preprocessing 'another'" in refusal("--version=4")
    (site.base / "4" / "saved_model.pb").write_text("damaged")
    assert "its digest differs" in refusal("--version=4")
    assert site.step("preflight", "--version=1", status=2)["done"] is False


def test_preflight_tells_servers_that_answer_from_those_that_do_not(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.publish(1)
    living, nobody = site.replicas[0].url, "http://127.0.0.1:9"
    monkeypatch.setenv("SNIFFER_SERVING_REPLICAS", f"{nobody},{living}")
    found = site.step("preflight")
    assert found["servers"] == [living]
    assert nobody in found["problems"][0]
    monkeypatch.setenv("SNIFFER_SERVING_REPLICAS", nobody)
    assert "no model server of local:" in site.step("preflight", status=1)["error"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["load"], "--version is required"),
        (["run", "--version=0"], "not a model version"),
        (["run", "--max-flips=nan"], "must be 0 or above"),
        (["promot"], "did you mean promote?"),
    ],
)
def test_wrong_usage_is_told(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    from sniffer_rollout import __main__ as rollout

    try:
        assert rollout.main(flags) == 2
    except SystemExit as ended:
        assert ended.code == 2
    assert message in capsys.readouterr().err
