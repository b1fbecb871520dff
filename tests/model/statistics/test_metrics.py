"""The figures against scikit-learn's, and how far the bootstrap says they may be off."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, confusion_matrix, precision_score, recall_score, roc_auc_score
from support.scored import scored_images

from sniffer_model.data.manifest import ManifestEntry, Split
from sniffer_model.evaluation.figures import Operation, ScoredImages, judge, split_metrics
from sniffer_model.statistics.metrics import (
    Drawn,
    Ranking,
    Resampling,
    Scores,
    Truth,
    Values,
    bootstrap,
    confusion,
    interval,
    pr_area,
    pr_auc,
    resampled,
    roc_area,
    roc_auc,
)
from sniffer_model.statistics.review_load import ReviewPlan


@given(scored_images())
@settings(deadline=None)
def test_areas_are_those_of_scikit_learn(case: tuple[Truth, Scores]) -> None:
    truth, scores = case
    assert roc_auc(truth, scores) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert pr_auc(truth, scores) == pytest.approx(average_precision_score(truth, scores), abs=1e-12)


@given(scored_images(), st.floats(-0.1, 1.1))
@settings(deadline=None)
def test_confusion_is_that_of_scikit_learn(case: tuple[Truth, Scores], threshold: float) -> None:
    truth, scores = case
    counts = confusion(truth, scores, threshold)
    expected = confusion_matrix(truth, scores >= threshold, labels=[False, True]).ravel()
    found = (counts.true_negatives, counts.false_positives, counts.false_negatives, counts.true_positives)
    assert found == tuple(expected)


def test_precision_without_flags_and_recall_without_positives_are_undefined_rather_than_nought() -> None:
    truth, scores = np.array([False, False]), np.array([0.1, 0.2])
    counts = confusion(truth, scores, 0.5)
    assert counts.precision is None
    assert counts.recall is None


@pytest.mark.parametrize("truth", [[True, True], [False, False]])
def test_one_class_has_no_roc_auc(truth: list[bool]) -> None:
    with pytest.raises(ValueError, match="both classes"):
        roc_auc(np.array(truth), np.array([0.1, 0.2]))


@given(scored_images(), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_figures_of_a_draw_are_those_of_scikit_learn_with_the_draw_as_weights(
    case: tuple[Truth, Scores], seed: int
) -> None:
    truth, scores = case
    (drawn,) = resampled(truth, Resampling(seed, 3))
    right, wrong = Ranking(truth, scores).counts(drawn)
    for row, weights in enumerate(drawn):
        assert roc_area(right, wrong)[row] == pytest.approx(roc_auc_score(truth, scores, sample_weight=weights))
        expected = average_precision_score(truth, scores, sample_weight=weights)
        assert pr_area(right, wrong)[row] == pytest.approx(expected)


@given(scored_images())
@settings(deadline=None, max_examples=30)
def test_precision_and_recall_over_thresholds_are_those_of_scikit_learn(case: tuple[Truth, Scores]) -> None:
    truth, scores = case
    judgement = judge(images(truth, scores), Operation(1.0, 0.37, ReviewPlan()), Resampling(0, 100))
    for row in split_metrics(judgement).thresholds:
        flagged = judgement.scores >= row.threshold
        assert row.recall.value == pytest.approx(recall_score(truth, flagged))
        if flagged.any():
            assert row.precision is not None
            assert row.precision.value == pytest.approx(precision_score(truth, flagged))
        else:
            assert row.precision is None


def images(truth: Truth, scores: Scores) -> ScoredImages:
    entries = tuple(
        ManifestEntry(str(row), "", "drugs" if drugs else "other", "odd" if row % 2 else "", Split.TEST)
        for row, drugs in enumerate(truth)
    )
    return ScoredImages(entries, truth, scores, 0)


def test_a_draw_keeps_the_size_of_each_class_and_a_seed_repeats_it() -> None:
    truth = np.arange(900) % 3 == 0
    first, second = (np.concatenate(list(resampled(truth, Resampling(7, 1500)))) for _ in range(2))
    assert first.shape == (1500, 900)
    assert (first[:, truth].sum(axis=1) == 300).all()
    assert (first[:, ~truth].sum(axis=1) == 600).all()
    np.testing.assert_array_equal(first, second)
    assert (first != next(resampled(truth, Resampling(8, 1)))).any()


def test_the_interval_of_a_share_is_about_that_of_its_binomial() -> None:
    truth = np.arange(2000) < 1000
    flagged = np.arange(2000) % 5 == 0

    def recall(drawn: Drawn) -> dict[str, Values]:
        return {"recall": drawn @ (flagged & truth) / 1000}

    found = bootstrap(truth, recall, Resampling(0, 2000), 0.95)["recall"].estimate()
    assert found is not None
    assert found.value == pytest.approx(0.2)
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(0.2 * 0.8 / 1000), rel=0.1)


def test_no_interval_of_a_few_perfectly_ranked_images_is_a_point() -> None:
    truth = np.arange(20) < 10
    figures = split_metrics(judge(images(truth, truth.astype(float)), Operation(1.0, 0.5, ReviewPlan()), Resampling()))
    for field in dataclasses.fields(figures.intervals):
        low, high = getattr(figures.intervals, field.name)
        assert low < high, field.name
    assert (figures.pr_auc, figures.roc_auc, figures.precision) == (1, 1, 1)
    for one in (figures.night.flags_per_night, figures.night.right, figures.night.missed, figures.night.precision):
        assert one is not None and one.low < one.high
    assert all(row.share_flagged and row.share_flagged.low < row.share_flagged.high for row in figures.slices)
    assert all(row.drugs_share_interval[0] < row.drugs_share_interval[1] for row in figures.reliability)
    bands = judge(images(truth, truth.astype(float)), Operation(1.0, 0.5, ReviewPlan()), Resampling()).bands
    for name in ("pr_curve", "roc_curve"):
        assert (bands[name].low < bands[name].high).all()


def test_the_precision_of_77_images_is_not_certain() -> None:
    truth = np.arange(154) < 77
    figures = split_metrics(judge(images(truth, truth.astype(float)), Operation(1.0, 0.5, ReviewPlan()), Resampling()))
    assert figures.precision == 1
    assert figures.intervals.precision is not None
    assert figures.intervals.precision[0] == pytest.approx(0.9532, abs=1e-4)
    assert figures.intervals.precision[1] == 1


def test_a_draw_without_flags_does_not_make_the_precision_undefined() -> None:
    low, high = interval(np.array([[0.25, np.nan], [np.nan, np.nan], [0.75, np.nan]]), 1.0)
    assert (low[0], high[0]) == (0.25, 0.75)
    assert np.isnan([low[1], high[1]]).all()


def test_figures_by_slice_are_recall_among_drugs_and_false_alarms_among_others() -> None:
    truth = np.array([True, True, True, True, False, False, False, False])
    scores = np.array([0.9, 0.1, 0.9, 0.9, 0.8, 0.2, 0.2, 0.2])
    figures = split_metrics(judge(images(truth, scores), Operation(1.0, 0.5, ReviewPlan()), Resampling(0, 200)))
    shares = {(row.label, row.slice): row.share_flagged and row.share_flagged.value for row in figures.slices}
    assert shares == {("drugs", ""): 1.0, ("drugs", "odd"): 0.5, ("other", ""): 0.5, ("other", "odd"): 0.0}
    assert [row.images for row in figures.slices] == [2, 2, 2, 2]


def test_curves_run_from_the_first_flag_to_all_of_them() -> None:
    truth, scores = np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1])
    bands = judge(images(truth, scores), Operation(1.0, 0.5, ReviewPlan()), Resampling(0, 100)).bands
    precision, recall = bands["pr_curve"].values, bands["roc_curve"].values
    assert (precision[0], precision[50], precision[51], precision[100]) == (1, 1, *[pytest.approx(2 / 3)] * 2)
    assert (recall[0], recall[49], recall[50], recall[100]) == (0.5, 0.5, 1, 1)
