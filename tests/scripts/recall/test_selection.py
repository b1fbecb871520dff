"""Which images are drawn: each as likely as any other of its stratum, by the key alone, in bounded memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from itertools import pairwise

import numpy as np
import pytest
from support.simulated_nights import decided

from sniffer.core.recall_records import DrawPlan, KeptDraw, RecallFrame
from sniffer.core.review_records import Reason, ReviewDecision
from sniffer.core.sample_records import ReviewedSample, SampledImage, SampleStratum
from sniffer.recall.design_bound import design_interval, weighted_sum
from sniffer.recall.labels import AuditedDraw, audit
from sniffer.recall.pool import Pool
from sniffer.recall.selection import BINS, Edges, ScoredImage, Selection, histogram_bin

NIGHT = date(2026, 11, 20)
EDGES = Edges.around(0.5)


def looked_at(key: bytes, frames: Sequence[Iterable[ScoredImage]], labels: int) -> Pool:
    """A pool of these frames, in their order, at a line that promises one drug in three hundred at 0.3."""
    pool = Pool(EDGES, DrawPlan(key, labels, -5.0, 1.0, "a test"))
    for number, images in enumerate(frames):
        images = list(images)
        selection = pool.selection()
        selection.add(images)
        flagged = sum(image.score >= 0.5 for image in images)
        frame = RecallFrame(number, f"s{number}", f"b{number}", NIGHT, 1, 0.5, len(images), flagged, (number,))
        pool.add(frame, selection)
    return pool


def drawn(key: bytes, ids: range, count: int, *, reverse: bool = False) -> set[int]:
    images = [ScoredImage(number, 0.3) for number in ids]
    pool = looked_at(key, [images[::2], images[1::2]] if not reverse else [images[::-1]], count)
    return {image.image_id for draw in pool.draw() for image in draw.sample.images}


def test_the_order_of_the_walk_does_not_matter_and_the_key_does() -> None:
    one, other = b"1" * 32, b"2" * 32
    assert drawn(one, range(500), 20) == drawn(one, range(500), 20, reverse=True)
    assert drawn(one, range(500), 20) != drawn(other, range(500), 20)


def test_every_image_is_drawn_as_often_as_any_other() -> None:
    counts = Counter[int]()
    for number in range(600):
        counts.update(drawn(number.to_bytes(32, "big"), range(1, 21), 5))
    # 150 times each; the standard deviation is 11.
    assert set(counts) == set(range(1, 21))
    assert all(100 < times < 200 for times in counts.values())


def test_no_more_is_kept_than_may_be_drawn() -> None:
    selection = Selection(EDGES, b"k" * 32, 3)
    selection.add(ScoredImage(number, 0.3) for number in range(1000))
    assert (sum(selection.population), sum(selection.histogram)) == (1000, 1000)
    assert sum(map(len, selection.kept)) == 3


def test_a_hundred_buckets_share_the_budget_and_each_image_has_the_same_chance_of_its_stratum() -> None:
    """Small ones have no sample of their own in most nights, and over many nights exactly their part."""
    random = np.random.default_rng(5)
    scores = 1 / (1 + np.exp(-random.normal(-5, 3, 1500)))
    ends = np.sort(random.choice(np.arange(1, 1500), 99, replace=False))
    images = [ScoredImage(number, float(score)) for number, score in enumerate(scores)]
    frames = [images[start:end] for start, end in pairwise([0, *ends.tolist(), 1500])]
    truth = {number for number, score in enumerate(scores) if random.random() < score}
    smallest = {image.image_id for frame in frames for image in frame if len(frame) <= 10}
    totals, of_smallest = [], []
    for night in range(40):
        draws = looked_at(night.to_bytes(32, "big"), frames, 60).draw()
        found = [image for draw in draws for image in draw.sample.images]
        assert len(found) == 60 and len(draws) == 100
        totals.append(sum(1 / image.probability for image in found if image.image_id in truth))
        of_smallest.append(sum(1 / image.probability for image in found if image.image_id in smallest))
    assert 0 < sum(not draw.sample.images for draw in draws) < 100
    for weighted, true in ((totals, len(truth)), (of_smallest, len(smallest))):
        # Four standard errors.
        assert abs(np.mean(weighted) - true) < 4 * np.std(weighted) / 40**0.5
        assert np.std(weighted) / 40**0.5 < 0.25 * true


def test_what_is_drawn_more_often_does_not_speak_for_the_rest() -> None:
    """A small night all of which is drugs, of which most was drawn, beside a large one without any."""
    small, large = (
        AuditedDraw(
            KeptDraw(number, "bkt", NIGHT, images, 0, (-4.0,), ()),
            (SampleStratum(0, 0.0, 0.5, images, 40, 40 / images),),
            [reviewed(image, is_drug, 40 / images) for image in range(40)],
        )
        for number, (images, is_drug) in enumerate([(50, True), (100_000, False)])
    )
    seen = audit([small, large], 0.5)
    assert weighted_sum(seen.cells) == pytest.approx(50)
    assert seen.cells.population.tolist() == [100_000, 50] and seen.cells.positives.tolist() == [0, 40]
    assert weighted_sum(seen.by_reason[Reason.CANNABIS]) == pytest.approx(50)
    # A night that nobody has decided about yet is taken to be as those that somebody has, of the same stratum.
    waiting = replace(large, samples=[replace(one, decisions=()) for one in large.samples])
    half = replace(small, samples=[*small.samples[:20], *(replace(one, decisions=()) for one in small.samples[20:])])
    assert weighted_sum(audit([half], 0.5).cells) == pytest.approx(50)
    seen = audit([small, waiting], 0.5)
    assert seen.cells.population.tolist() == [100_050] and weighted_sum(seen.cells) == pytest.approx(100_050)
    assert (seen.undecided, seen.disputed) == (40, 0)


def test_a_bucket_without_a_sample_has_the_chance_of_its_stratum_as_its_bound() -> None:
    none = AuditedDraw(KeptDraw(1, "bkt", NIGHT, 300, 0, (-4.0,), ()), (SampleStratum(0, 0.0, 0.5, 300, 0, 0.1),), [])
    _, most = design_interval(audit([none], 0.5).cells, 0.95, np.random.default_rng(1))
    # Each drug is missed with 0.9. By the mid-P end 5 % of the chance lies beyond ln(20) / 0.1 drugs.
    assert most == pytest.approx(10 * math.log(20), rel=0.05)


def reviewed(image: int, is_drug: bool, chance: float) -> ReviewedSample:
    said = ReviewDecision.DRUG if is_drug else ReviewDecision.NOT_DRUG
    reason = Reason.CANNABIS if is_drug else None
    rows = [replace(decided(said, name), reason=reason) for name in ("ann", "bob")]
    return ReviewedSample(SampledImage(image, 1, 0.1, 0, chance), "bkt", rows)


def test_every_score_has_a_bin() -> None:
    assert histogram_bin(0.0) == 0 and histogram_bin(1.0) == BINS - 1
    assert histogram_bin(0.5) == BINS // 2
