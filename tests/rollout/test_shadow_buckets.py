"""Images that were scanned lately, in buckets that are gone since: compared is what is left, and nothing is held up."""

from __future__ import annotations

import pytest
from support.published import photo
from support.replicas import Site
from support.scratch_bucket import ScratchBucket

from sniffer.adapters.images import DECODER_VERSION
from sniffer.core.errors import SettingsError
from sniffer.core.model_records import ModelStatus
from sniffer.core.records import ListedObject, Outcome, Result, ScanRequest
from sniffer.core.settings import fetch_settings, image_settings
from sniffer_rollout.proofs.shadow import fetch_pixels


def put(bucket: ScratchBucket, count: int) -> list[ListedObject]:
    """Images in the bucket, as a scan lists them."""
    found = []
    for number in range(count):
        key, data = f"images/{number}.jpg", photo(40 + number)
        etag = bucket.put(key, data)
        modified = bucket.client.head_object(Bucket=bucket.name, Key=key)["LastModified"]
        found.append(ListedObject(bucket.name, key, etag, len(data), modified))
    return found


def gone(bucket: ScratchBucket, count: int) -> list[ListedObject]:
    """The same in another bucket, which is deleted then."""
    other = ScratchBucket(f"x-{bucket.name}"[:63], bucket.client, bucket.endpoint_url)
    other.client.create_bucket(Bucket=other.name)
    images = put(other, count)
    for image in images:
        other.delete(image.key)
    other.client.delete_bucket(Bucket=other.name)
    return images


def test_what_was_in_a_deleted_bucket_is_left_out_and_the_rest_compared(
    bucket: ScratchBucket, caplog: pytest.LogCaptureFixture
) -> None:
    here, deleted = put(bucket, 3), gone(bucket, 2)
    pixels, left_out = fetch_pixels([*deleted, *here], fetch_settings(), image_settings())
    assert list(pixels) == here
    assert left_out == {"no_bucket": 2}
    assert "2 of the images that were scanned last cannot be compared" in caplog.text
    assert deleted[0].bucket in caplog.text


def test_nothing_is_left_to_compare_where_all_buckets_are_gone(bucket: ScratchBucket) -> None:
    pixels, left_out = fetch_pixels(gone(bucket, 2), fetch_settings(), image_settings())
    assert (pixels, left_out) == ({}, {"no_bucket": 2})


def test_credentials_that_open_no_bucket_are_no_reason_to_compare_nothing(
    bucket: ScratchBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, deleted = put(bucket, 1), gone(bucket, 1)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nonexistent")
    with pytest.raises(SettingsError, match="--shadow-images 0"):
        fetch_pixels([*here, *deleted], fetch_settings(), image_settings())


@pytest.mark.slow
def test_no_step_is_held_up_by_a_deleted_bucket(site: Site, bucket: ScratchBucket) -> None:
    site.publish(1, status=ModelStatus.STABLE)
    site.step("restore")
    images = gone(bucket, 3)
    results = [Result(image, Outcome.PREDICTED, 0.3, n.to_bytes(32)) for n, image in enumerate(images)]
    with site.database() as database:
        token = database.scans.open(ScanRequest("scan-1", images[0].bucket), 1, 0.5)
        database.images.record(results, model_version=1, token=token, decoder_version=DECODER_VERSION)
    site.publish(2, "other")
    quick = ("--latency-floor-ms=10000", "--latency-rounds=1")
    refused = site.step("run", *quick, "--least-shadow-images=1", status=2)["error"]
    assert "only 0 scanned images could be compared, not 1 (left out: {'no_bucket': 3})" in refused
    shadow = site.step("run", *quick)["verify"]["shadow"]
    assert (shadow["compared"], shadow["left_out"]) == (0, {"no_bucket": 3})
    assert site.step("rollback")["stable"] == 1
    assert site.step("restore")["stable"] == 1
