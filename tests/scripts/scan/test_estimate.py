"""The estimate of a dry run: by the pace of an earlier scan and what its start and end took, whatever its size."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from support.fleet import Fleet

from sniffer.core.measured_scan import MeasuredScan
from sniffer.core.records import ScanRequest
from sniffer.scan.estimate import ScanEstimate, basis_of
from sniffer.scan.listing import ListingTally
from sniffer.scan.pace import Pace, PaceMeter

BATCH = 32
NOTHING = "nothing is listed there, so a scan would have nothing to do: check bucket, prefix and times"


def measured(images: int = 1000, *, bucket: str = "b", consumers: int = 3, scan_id: str = "s") -> MeasuredScan:
    return MeasuredScan(scan_id, bucket, images, 5.0 + images / 50, 50.0, consumers)


def estimate(new: int, basis: MeasuredScan | None, *, listed: int = 10_000, listing_s: float = 1.0) -> ScanEstimate:
    tally = ListingTally(listed=listed, unchanged=listed - new)
    return ScanEstimate.of(ScanRequest("s", "b"), 3, tally, new, listing_s, basis)


def played(
    images: int, consumers: int, chance: random.Random, speed: tuple[float, float, float]
) -> tuple[PaceMeter, float]:
    """A scan by consumers that start one after the other and take a while for each batch; and how long it took."""
    start_s, join_s, batch_s = speed
    meter, done, alive = PaceMeter(), 0, 0
    free = [start_s + join_s * number for number in range(consumers)]
    events = [(moment, 0) for moment in free]
    for first in range(0, images, BATCH):
        who = min(range(consumers), key=lambda number: free[number])
        free[who] += batch_s * chance.uniform(0.9, 1.1)
        events.append((free[who], min(BATCH, images - first)))
    for moment, size in sorted(events):
        done += size
        alive += size == 0
        meter.note(moment, done, alive)
    return meter, max(free)


@pytest.mark.parametrize("images", [300, 500, 1500])
@pytest.mark.parametrize("consumers", [1, 2, 3])
def test_a_scan_of_any_other_size_is_estimated_within_a_quarter(images: int, consumers: int) -> None:
    for seed in range(50):
        chance = random.Random(seed)
        speed = (chance.uniform(0, 20), chance.uniform(0, 0.5), chance.uniform(0.3, 4))
        meter, took_s = played(images, consumers, chance, speed)
        pace = meter.pace()
        assert pace is not None and pace.consumers == consumers
        basis = MeasuredScan("s", "b", images, took_s, pace.images_per_s, consumers)
        for others in (1500, 6000):
            _, will_take_s = played(others, consumers, chance, speed)
            assert estimate(others, basis).duration_s == pytest.approx(will_take_s, rel=0.25)


@pytest.mark.parametrize("consumers", [1, 3])
def test_nearly_every_scan_takes_a_time_within_what_was_stated(consumers: int) -> None:
    """Whatever the sizes, on a machine that is a little slower or quicker the next time."""
    inside: list[bool] = []
    for seed in range(100):
        chance = random.Random(seed)
        start_s, join_s, batch_s = chance.uniform(0, 20), chance.uniform(0, 0.5), chance.uniform(0.3, 4)
        images = chance.choice([300, 500, 1500])
        meter, took_s = played(images, consumers, chance, (start_s, join_s, batch_s))
        pace = meter.pace()
        assert pace is not None
        basis = MeasuredScan("s", "b", images, took_s, pace.images_per_s, consumers)
        for others in (100, 300, 1500, 6000):
            another = chance.uniform(0.85, 1.15)
            _, will_take_s = played(others, consumers, chance, (start_s * another, join_s, batch_s * another))
            found = estimate(others, basis)
            assert found.shortest_s is not None and found.duration_s is not None and found.longest_s is not None
            assert found.shortest_s <= found.duration_s <= found.longest_s <= 4 * found.shortest_s
            inside.append(found.shortest_s <= will_take_s <= found.longest_s)
    assert sum(inside) / len(inside) > 0.95


def test_the_pair_that_was_off_by_38_percent_is_within_what_is_stated() -> None:
    """A scan of 300 took 51 s at what seemed 6.9 images/s; one of 100 then took 16 s, one of 1,500 took 258 s."""
    basis = MeasuredScan("s", "b", 300, 51.0, 6.9, 3)
    for images, took_s in ((100, 16.0), (1500, 258.0)):
        found = estimate(images, basis)
        assert found.shortest_s is not None and found.longest_s is not None
        assert found.shortest_s <= took_s <= found.longest_s


def test_too_few_images_measure_no_pace() -> None:
    meter, _ = played(3 * BATCH, 1, random.Random(1), (1.0, 0.0, 1.0))
    assert meter.pace() is None
    meter = PaceMeter()
    for second in range(4):
        meter.note(float(second), (second + 1) * BATCH, 1)
    assert meter.pace() == Pace(BATCH, 1)


def test_a_consumer_that_joins_late_counts_from_then_on() -> None:
    meter = PaceMeter()
    for second in range(10):
        meter.note(float(second), second * 10, 1)
    for second in range(10, 13):
        meter.note(float(second), 90 + (second - 9) * 20, 2)
    assert meter.pace() == Pace(10, 1)
    for second in range(13, 20):
        meter.note(float(second), 90 + (second - 9) * 20, 2)
    assert meter.pace() == Pace(20, 2)


def test_a_long_listing_is_what_takes_time() -> None:
    assert estimate(50, measured(), listing_s=600.0).duration_s == 600.0
    assert estimate(5_000, measured(), listing_s=6.0).duration_s == 105.0


def test_the_basis_is_the_newest_large_scan_with_as_many_consumers() -> None:
    small = measured(40, scan_id="small")
    few = measured(consumers=1, scan_id="few")
    other = measured(bucket="other", scan_id="other")
    fitting, older = measured(scan_id="fitting"), measured(scan_id="older")
    assert basis_of([small, few, other, fitting, older], "b", 3) is fitting
    assert basis_of([small, few, other], "b", 3) is other
    assert basis_of([small, few], "b", 3) is few
    assert basis_of([small, few, older], "b", None) is few
    assert basis_of([measured(30), small], "b", 3) is small
    assert basis_of([], "b", 3) is None


@pytest.mark.parametrize(
    ("new", "listed", "basis", "words"),
    [
        (
            0,
            0,
            measured(),
            NOTHING,
        ),
        (0, 7, measured(), "every listed object has a result already, so a scan would score nothing"),
        (7, 7, None, "no scan has measured its pace yet, so the time cannot be estimated"),
        (
            5_000,
            9_000,
            measured(),
            "about 0:01:45 (0:01:22 to 0:02:14), at 50.0 images/s as s measured with 3 consumers",
        ),
        (
            5_000,
            9_000,
            measured(consumers=1),
            "about 0:01:45 (0:01:22 to 0:02:14), at 50.0 images/s as s measured with 1 consumer",
        ),
    ],
)
def test_it_says_in_words_what_there_is(new: int, listed: int, basis: MeasuredScan | None, words: str) -> None:
    assert f"\n{words}; nothing was changed" in estimate(new, basis, listed=listed).describe()


@pytest.mark.slow
def test_a_dry_run_after_a_scan_knows_its_pace(fleet: Fleet, tmp_path: Path) -> None:
    fleet.fill(300)
    first = fleet.scan()
    assert first.steady_images_per_s > 0 and first.consumers == 1
    for number in range(300, 310):
        fleet.put(f"images/{number:04}.jpg", f"no image {number}".encode())
    file = tmp_path / "estimate.json"
    with fleet.start("--dry-run", f"--result={file}") as program:
        assert program.wait() == 0, program.text()
    found = json.loads(file.read_text())
    assert (found["listed"], found["new"], found["basis"], found["consumers"]) == (310, 10, first.scan_id, 1)
    assert found["images_per_s"] == first.steady_images_per_s
    overhead_s = first.duration_s - 300 / first.steady_images_per_s
    assert found["duration_s"] == pytest.approx(max(overhead_s, 0) + 10 / first.steady_images_per_s, abs=1.0)
