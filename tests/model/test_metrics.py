"""The figures against scikit-learn's, and the threshold's rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score

from sniffer_model.metrics import Scores, Truth, choose_threshold, confusion, pr_auc, roc_auc


@st.composite
def scored_images(draw: st.DrawFn) -> tuple[Truth, Scores]:
    """Both classes present; few distinct scores, so that ties are the rule."""
    count = draw(st.integers(2, 60))
    truth = draw(st.lists(st.booleans(), min_size=count, max_size=count).filter(lambda t: 0 < sum(t) < len(t)))
    levels = draw(st.integers(1, 40))
    scores = draw(st.lists(st.integers(0, levels), min_size=count, max_size=count))
    return np.array(truth), (np.array(scores) / levels).astype(np.float32)


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


@given(scored_images(), st.sampled_from([0.5, 0.8, 0.95, 1.0]))
@settings(deadline=None)
def test_no_threshold_that_reaches_the_target_has_more_recall_than_the_chosen(
    case: tuple[Truth, Scores], target: float
) -> None:
    truth, scores = case
    choice = choose_threshold(truth, scores, target)
    chosen = confusion(truth, scores, choice.threshold)
    others = [confusion(truth, scores, float(value)) for value in np.unique(scores)]
    reaching = [other for other in others if (other.precision or 0) >= target]
    assert choice.target_reached == bool(reaching)
    if reaching:
        assert (chosen.precision or 0) >= target
        assert chosen.recall == max(other.recall or 0 for other in reaching)
    else:
        assert chosen.precision == max(other.precision or 0 for other in others)


def test_threshold_lies_half_way_between_separated_classes() -> None:
    truth, scores = np.array([True, True, False, False]), np.array([0.9, 0.8, 0.4, 0.1])
    assert choose_threshold(truth, scores, 0.5).threshold == pytest.approx(0.6)


def test_precision_without_flags_and_recall_without_positives_are_undefined_rather_than_nought() -> None:
    truth, scores = np.array([False, False]), np.array([0.1, 0.2])
    counts = confusion(truth, scores, 0.5)
    assert counts.precision is None
    assert counts.recall is None


@pytest.mark.parametrize("truth", [[True, True], [False, False]])
def test_one_class_has_no_roc_auc(truth: list[bool]) -> None:
    with pytest.raises(ValueError, match="both classes"):
        roc_auc(np.array(truth), np.array([0.1, 0.2]))
