"""How often luck gets past the gate, and how often it stops an equal candidate: simulated, also on near-duplicates."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import binom
from support.judged import FIGURES

from sniffer.core.gate_records import ModelComparison
from sniffer_model.data.manifest import ManifestEntry, Split
from sniffer_model.data.near_duplicates import first_of_each_group
from sniffer_model.gate.comparison import ERROR_RATE, Rival, class_weights, compare
from sniffer_model.gate.limits import Limits
from sniffer_model.gate.verdict import decide
from sniffer_model.statistics.metrics import Resampling, Scores, Truth, Values
from sniffer_model.statistics.review_load import ReviewPlan

ONLY_GAIN = Limits(0, 0, max_recall_loss=1, max_precision_loss=1, max_slice_loss=1, min_class_images=0)
ONLY_LOSS = Limits(0, 0, max_recall_loss=0, max_precision_loss=0, max_slice_loss=0, min_slice_images=5)
COPIES = 5


def scored_by_two(rng: np.random.Generator, images: int, spread: tuple[float, float]) -> tuple[Truth, Scores, Scores]:
    """Scores of one signal, each with noise of its own: of equal spread, the models are equally good."""
    truth = np.arange(images) < images // 4
    signal = rng.normal(np.where(truth, 2.0, 0.0), 1.0)
    ours, theirs = (1 / (1 + np.exp(-(signal + rng.normal(0, own, images)))) for own in spread)
    return truth, ours, theirs


def compared(
    truth: Truth, ours: Scores, theirs: Scores, seed: int, slices: Sequence[str] | None = None
) -> ModelComparison:
    """Of two models that flag from a score of 0.9."""
    labels = ["drugs" if drugs else "other" for drugs in truth]
    kinds = list(zip(labels, slices or [""] * len(truth), strict=True))
    return compare(truth, kinds, Rival(ours, 0.9), Rival(theirs, 0.9), ReviewPlan(), Resampling(seed, 300))


def is_blessed(comparison: ModelComparison, limits: Limits) -> bool:
    return decide(dataclasses.replace(FIGURES, comparison=comparison), limits).blessed


def at_most(rate: float, trials: int) -> int:
    """How many of the trials may happen by chance where the rate is at most that: exceeded one time in a thousand."""
    return int(binom.ppf(0.999, trials, rate))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("images", [80, 240])
def test_an_equal_candidate_is_not_blessed_by_luck_more_often_than_stated(images: int) -> None:
    rng, trials = np.random.default_rng(2024), 400
    blessed = sum(
        is_blessed(compared(*scored_by_two(rng, images, (1.0, 1.0)), seed), ONLY_GAIN) for seed in range(trials)
    )
    assert 0 < blessed <= at_most(ERROR_RATE, trials)


def copies_of(truth: Truth, ours: Scores, theirs: Scores, rng: np.random.Generator) -> tuple[Truth, Scores, Scores]:
    """Each image several times, every copy scored almost alike, as resized and recompressed pictures are."""
    rows = np.repeat(np.arange(len(truth)), COPIES)
    jitter = rng.normal(0, 1e-3, (2, len(rows)))
    return truth[rows], np.clip(ours[rows] + jitter[0], 0, 1), np.clip(theirs[rows] + jitter[1], 0, 1)


def hashed(truth: Truth, rng: np.random.Generator) -> list[ManifestEntry]:
    """Entries whose perceptual hashes differ by a few bits among the copies of one picture."""
    entries = []
    for row, drugs in enumerate(truth):
        if row % COPIES == 0:
            bits = rng.integers(0, 2, 256, np.uint8)
        flipped = bits ^ (rng.random(256) < 0.03)
        label = "drugs" if drugs else "other"
        entries.append(
            ManifestEntry(
                str(row),
                rng.bytes(32).hex(),
                label,
                "",
                Split.TEST,
                perceptual_hash=np.packbits(flipped).tobytes().hex(),
            )
        )
    return entries


def clustered(rng: np.random.Generator, seed: int, *, keep_all: bool) -> ModelComparison:
    truth, ours, theirs = copies_of(*scored_by_two(rng, 80, (1.0, 1.0)), rng)
    rows = np.arange(len(truth)) if keep_all else first_of_each_group(hashed(truth, rng))
    assert keep_all or len(rows) == 80
    return compared(truth[rows], ours[rows], theirs[rows], seed)


def test_near_duplicates_do_not_void_the_stated_error_rate() -> None:
    trials = 200
    rng = np.random.default_rng(7)
    kept = sum(is_blessed(clustered(rng, seed, keep_all=False), ONLY_GAIN) for seed in range(trials))
    assert kept <= at_most(ERROR_RATE, trials)
    # What it would be if copies counted as images: the reason for leaving them out.
    rng = np.random.default_rng(7)
    counted = sum(is_blessed(clustered(rng, seed, keep_all=True), ONLY_GAIN) for seed in range(100))
    assert counted > at_most(ERROR_RATE, 100)


def labelled_by_review(rng: np.random.Generator) -> tuple[Truth, Scores, Scores, Values]:
    """Two equal models on what there are labels of: of some own images, and what the second one's review has brought.

    One image of 20 shows drugs. All that the second model flags is labelled, and of the rest a random sample, more of
    it near the threshold; last, the chance with which each image came to be labelled.
    """

    def scored(truth: Truth) -> tuple[Scores, Scores]:
        signal = rng.normal(np.where(truth, 3.0, 0.0), 1.0)
        ours, theirs = (signal + rng.normal(0, 0.7, len(truth)) for _ in range(2))
        return ours, theirs

    own, seen = np.arange(300) < 100, rng.random(6000) < 0.05
    (own_ours, own_theirs), (ours, theirs) = scored(own), scored(seen)
    chance = np.where(theirs >= FLAGGED_FROM, 1.0, np.where(theirs >= FLAGGED_FROM - 1, 0.4, 0.04))
    kept = (rng.random(len(seen)) < chance) & (rng.random(len(seen)) < 0.3)  # so much of it is the test split
    return (
        np.concatenate([own, seen[kept]]),
        np.concatenate([own_ours, ours[kept]]),
        np.concatenate([own_theirs, theirs[kept]]),
        np.concatenate([np.ones(len(own)), chance[kept]]),
    )


FLAGGED_FROM = 2.2


def test_labels_that_come_from_the_stable_models_flags_do_not_void_the_stated_error_rate() -> None:
    rng, trials, weighted, plain = np.random.default_rng(5), 40, 0, 0
    for seed in range(trials):
        truth, ours, theirs, chances = labelled_by_review(rng)
        rivals = Rival(ours, FLAGGED_FROM), Rival(theirs, FLAGGED_FROM)
        kinds = [("drugs" if drugs else "other", "") for drugs in truth]
        for weights in (class_weights(list(chances), truth), None):
            found = compare(truth, kinds, *rivals, ReviewPlan(), Resampling(seed, 200), weights)
            if weights is None:
                plain += is_blessed(found, ONLY_GAIN)
            else:
                weighted += is_blessed(found, ONLY_GAIN)
    assert weighted <= at_most(ERROR_RATE, trials)
    # What it would be if each label counted alike: the reason for the weights.
    assert plain > at_most(ERROR_RATE, trials)


def test_weights_are_on_average_one_in_each_class() -> None:
    weights = class_weights([1, 1, 0.5, 0.25], np.array([True, True, False, False]))
    assert weights == pytest.approx([1, 1, 2 / 3, 4 / 3])


@pytest.mark.parametrize("trials", [40, pytest.param(600, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
def test_many_slices_do_not_stop_an_equal_candidate_more_often_than_stated(trials: int) -> None:
    rng, slices = np.random.default_rng(11), 80
    stopped = 0
    for seed in range(trials):
        truth, ours, theirs = scored_by_two(rng, 1600, (1.0, 1.0))
        comparison = compared(truth, ours, theirs, seed, [str(row % slices) for row in range(len(truth))])
        # Whatever the gain: it is the losses that are counted here.
        shown = dataclasses.replace(comparison.pr_auc.difference, low=1.0) if comparison.pr_auc.difference else None
        gained = dataclasses.replace(comparison, pr_auc=dataclasses.replace(comparison.pr_auc, difference=shown))
        stopped += not is_blessed(gained, ONLY_LOSS)
    assert stopped <= at_most(ERROR_RATE, trials)


def test_one_slice_that_is_lost_is_found_among_many() -> None:
    rng = np.random.default_rng(12)
    truth, ours, theirs = scored_by_two(rng, 4000, (0.3, 0.3))
    names = [str(row % 40) for row in range(len(truth))]
    lost = truth & np.array([name == "7" for name in names])
    comparison = compared(truth, np.where(lost, 0.01, ours), np.where(lost, 0.99, theirs), 0, names)
    verdict = decide(dataclasses.replace(FIGURES, comparison=comparison), Limits())
    assert "slice drugs/7" in [check.rule for check in verdict.checks if not check.passed]


def test_the_very_same_scores_are_never_blessed() -> None:
    rng = np.random.default_rng(1)
    for seed in range(20):
        truth, ours, _ = scored_by_two(rng, 100, (1.0, 1.0))
        comparison = compared(truth, ours, ours, seed)
        assert not is_blessed(comparison, ONLY_GAIN)
        gain = comparison.pr_auc.difference
        assert gain is not None and gain.low < gain.value == 0 < gain.high, "equal on these images is not equal"


def test_a_better_candidate_is_blessed_as_a_rule() -> None:
    rng = np.random.default_rng(3)
    blessed = sum(is_blessed(compared(*scored_by_two(rng, 400, (0.2, 2.0)), seed), ONLY_GAIN) for seed in range(30))
    assert blessed >= 28


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("images", [60, 200, 600])
@pytest.mark.parametrize("separation", [1.0, 3.0, 5.0])
def test_the_error_rate_holds_for_weak_and_for_nearly_perfect_models(images: int, separation: float) -> None:
    rng, trials, blessed = np.random.default_rng(images), 1000, 0
    truth = np.arange(images) < images // 2
    for seed in range(trials):
        signal = rng.normal(np.where(truth, separation, 0.0), 1.0)
        signal = np.where(rng.random(images) < 0.03, rng.normal(separation / 2, 2, images), signal)
        ours, theirs = (1 / (1 + np.exp(-(signal + rng.normal(0, 0.4, images)))) for _ in range(2))
        blessed += is_blessed(compared(truth, ours, theirs, seed), ONLY_GAIN)
    assert blessed <= at_most(ERROR_RATE, trials)


def test_both_models_are_compared_each_at_its_own_threshold_on_the_same_images() -> None:
    truth = np.array([True] * 4 + [False] * 4)
    ours = Rival(np.array([0.9, 0.8, 0.7, 0.2, 0.6, 0.1, 0.1, 0.1]), 0.5)
    theirs = Rival(np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.1, 0.1, 0.1]), 0.75)
    kinds = [("drugs", "pills")] * 4 + [("other", "")] * 4
    found = compare(truth, kinds, ours, theirs, ReviewPlan(0.1, 1000), Resampling(0, 200))
    assert (found.images, found.recall.candidate, found.recall.stable) == (8, 0.75, 0.5)
    assert found.recall.difference is not None
    assert found.recall.difference.value == pytest.approx(0.25)
    assert found.recall.difference.low < 0 < found.recall.difference.high
    assert found.flags_per_night.candidate == pytest.approx(75 + 900 / 4)
    assert found.flags_per_night.stable == pytest.approx(50)
    shares = {(one.label, one.slice): one.share_flagged for one in found.slices}
    assert shares["drugs", "pills"].candidate == 0.75
    assert shares["other", ""].stable == 0
