"""Whole rollouts to two real model servers on this machine."""

from __future__ import annotations

import re
import threading

import pytest
from support.published import photo
from support.replicas import Site

from sniffer.adapters.images.render import decode
from sniffer.adapters.serving import ModelServer
from sniffer.core.model_records import MODEL_NAME, Decision, ModelStatus
from sniffer.core.records import ScanRequest
from sniffer.core.settings import ServingSettings


def test_the_first_version_is_rolled_out_in_one_go(site: Site) -> None:
    site.publish(1)
    report = site.step("run")
    assert site.statuses() == {1: "stable"}
    site.eventually_served([1], stable=1)
    assert report["done"]
    assert report["preflight"]["mode"]["name"] == "in-place"
    assert report["verify"]["note"] == "there is no stable version yet"
    assert set(report["verify"]["golden"]) == {replica.url for replica in site.replicas}


def test_a_second_version_step_by_step_each_run_twice(site: Site) -> None:
    site.publish(1)
    site.step("run")
    site.publish(2, "other")
    assert [site.step("preflight")["version"] for _ in range(2)] == [2, 2]
    for _ in range(2):
        assert len(site.step("load", "--version=2")["servers"]) == 2
        assert site.served() == [([1, 2], 1, 2)] * 2
        assert site.statuses() == {1: "stable", 2: "blessed"}
    for _ in range(2):
        found = site.step("verify", "--version=2", "--latency-floor-ms=10000")
        assert found["stable"] == 1
        assert found["latency"][site.replicas[0].url]["rounds"] == 30
        assert found["shadow"] is None
    for before in (1, 2):
        promoted = site.step(
            "promote", "--version=2", "--requested-by=ana", "--approved-by=ben", "--approval-reason=ok"
        )
        assert promoted["previous_stable"] == before
        assert promoted["decision"] == {"requested_by": "ana", "approved_by": "ben", "approval_reason": "ok"}
        assert site.statuses() == {1: "previous", 2: "stable"}
        assert site.served() == [([1, 2], 2, None)] * 2
    with site.database() as database:
        assert [one.decision for one in database.models.stable_changes(2)] == [Decision("ana", "ben", "ok")]
    assert site.step("preflight", "--version=2")["version"] == 2
    site.step("preflight", status=2)


def test_the_version_before_the_previous_one_leaves_unless_a_scan_is_pinned_to_it(site: Site) -> None:
    pixels = decode(photo(200)).tobytes()
    for version in (1, 2):
        site.publish(version)
        site.step("run", "--latency-floor-ms=10000")
    with site.database() as database:
        database.scans.open(ScanRequest("scan-1", "bkt"), 1, 0.5)
    site.publish(3)
    site.step("run", "--latency-floor-ms=10000")
    site.eventually_served([1, 2, 3], stable=3)
    assert site.replicas[0].score(1, pixels) == pytest.approx(200 / 255, abs=0.02)
    with site.database() as database:
        database.scans.open(ScanRequest("scan-1", "bkt"), 3, 0.5)
    site.step("restore")
    site.eventually_served([2, 3], stable=3)
    assert site.statuses() == {1: "blessed", 2: "previous", 3: "stable"}


@pytest.mark.slow
def test_whoever_asks_for_the_serving_version_is_answered_all_along(site: Site) -> None:
    site.publish(1)
    site.step("run")
    pixels, ending = decode(photo(200)).tobytes(), threading.Event()
    answers: dict[str, list[float]] = {replica.url: [] for replica in site.replicas}

    def ask(url: str) -> None:
        # Without patience: the first request that is refused ends it.
        with ModelServer(ServingSettings(f"{url}/v1/models/{MODEL_NAME}", patience_s=0.0)) as server:
            while not ending.wait(0.02):
                answers[url] += server.predict(1, [pixels])
            answers[url].append(-1.0)

    threads = [threading.Thread(target=ask, args=(replica.url,), daemon=True) for replica in site.replicas]
    for thread in threads:
        thread.start()
    site.publish(2, "other")
    site.step("run", "--latency-floor-ms=10000")
    site.publish(3, "corrupt")
    site.step("run", status=2)
    site.step("rollback", "--version=1")
    ending.set()
    for thread, found in zip(threads, answers.values(), strict=True):
        thread.join(10)
        assert found[-1] == -1.0, "a request was refused"
        assert len(found) > 20
        assert {round(score, 6) for score in found[:-1]} == {round(found[0], 6)}


@pytest.mark.parametrize(
    ("kind", "golden_gain", "message"),
    [
        ("corrupt", None, "loading version 2: http.* is at END with it: "),
        ("nan", None, "answered the score NaN"),
        ("good", 0.9, "scores golden example 3 .* by pixels, not .* it is not what was judged"),
        ("slow", None, "slower than the stable version 1, measured twice: .* ms .* times as long"),
    ],
)
def test_a_version_that_is_not_right_never_becomes_stable(
    site: Site, kind: str, golden_gain: float | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    site.publish(1, status=ModelStatus.STABLE)
    site.step("restore")
    site.publish(2, kind, golden_gain=golden_gain)
    report = site.step("run", "--latency-rounds=4", status=2)
    assert site.statuses() == {1: "stable", 2: "blessed"}
    site.eventually_served([1], stable=1)
    assert not report["done"]
    assert re.search(message, report["error"]), report["error"]
    assert report["error"] in capsys.readouterr().err
