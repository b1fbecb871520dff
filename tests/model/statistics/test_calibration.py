"""Calibration: likelier scores, no change of rank, nothing that breaks at the ends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss as sklearn_log_loss

from sniffer_model.statistics.calibration import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    Reliability,
    balanced_weights,
    calibrated,
    fit_temperature,
    log_loss,
)
from sniffer_model.statistics.metrics import Scores, Truth


def drawn_images(count: int, sharpness: float, seed: int, share: float = 0.5) -> tuple[Truth, Scores]:
    """Images whose true log-odds, even classes given, are known; their scores claim `sharpness` times as much."""
    rng = np.random.default_rng(seed)
    truth = rng.random(count) < share
    # Two normals of equal spread: the log-odds between them are linear in the value.
    log_odds = 2.0 * rng.normal(np.where(truth, 1.0, -1.0), 1.0)
    return truth, 1 / (1 + np.exp(-sharpness * log_odds))


@pytest.mark.parametrize("sharpness", [0.3, 2.0, 4.0])
@pytest.mark.parametrize("share", [0.5, 0.1])
def test_a_miscalibrated_model_gets_likelier_on_images_it_was_not_fitted_on(sharpness: float, share: float) -> None:
    temperature = fit_temperature(*drawn_images(4000, sharpness, seed=1, share=share))
    truth, scores = drawn_images(4000, sharpness, seed=2, share=share)
    assert temperature == pytest.approx(sharpness, rel=0.15)
    assert log_loss(truth, calibrated(scores, temperature)) < log_loss(truth, scores) - 0.01
    everything = np.ones((1, len(truth)))
    before, after = (
        Reliability(truth, s).expected_error(everything)[0] for s in (scores, calibrated(scores, temperature))
    )
    assert after < before / 2


def test_a_calibrated_model_is_left_nearly_as_it_is() -> None:
    assert fit_temperature(*drawn_images(20_000, 1.0, seed=3)) == pytest.approx(1.0, abs=0.05)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30), st.floats(MIN_TEMPERATURE, MAX_TEMPERATURE))
@settings(deadline=None)
def test_no_image_moves_past_another_and_every_score_stays_a_score(values: list[float], temperature: float) -> None:
    scores = np.sort(np.array([0.0, *values, 1.0]))
    found = calibrated(scores, temperature)
    assert np.isfinite(found).all()
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found) >= 0).all()
    assert found[0] == pytest.approx(1 - found[-1], abs=1e-12)


def test_a_temperature_of_one_changes_nothing() -> None:
    scores = np.linspace(0.001, 0.999, 50)
    np.testing.assert_allclose(calibrated(scores, 1.0), scores, rtol=1e-12)


def test_scores_of_exactly_nought_and_one_that_are_wrong_cost_much_but_not_everything() -> None:
    truth = np.array([True, False, True, False])
    scores = np.array([0.0, 1.0, 1.0, 0.0])
    assert log_loss(truth, scores) == pytest.approx(-np.log(2.0**-23) / 2, rel=1e-3)
    assert fit_temperature(truth, scores) == MAX_TEMPERATURE


def test_separated_images_do_not_ask_for_certainty() -> None:
    few = fit_temperature(np.array([True, True, False, False]), np.array([0.8, 0.7, 0.3, 0.2]))
    many = fit_temperature(np.repeat([True, False], 2000), np.repeat([0.6, 0.4], 2000))
    assert few == pytest.approx(1.0, abs=0.3)
    assert many == MIN_TEMPERATURE


def test_scores_that_say_nothing_keep_a_bounded_temperature() -> None:
    truth = np.array([True, False, True, False])
    assert MIN_TEMPERATURE <= fit_temperature(truth, np.full(4, 0.5)) <= MAX_TEMPERATURE
    assert fit_temperature(truth, np.array([0.1, 0.9, 0.2, 0.8])) == MAX_TEMPERATURE


@pytest.mark.parametrize("only", [True, False])
def test_one_class_cannot_be_calibrated(only: bool) -> None:
    with pytest.raises(ValueError, match="both classes"):
        fit_temperature(np.array([only, only]), np.array([0.2, 0.7]))


def test_log_loss_is_that_of_scikit_learn_with_even_classes() -> None:
    truth, scores = drawn_images(500, 1.3, seed=5, share=0.2)
    expected = sklearn_log_loss(truth, scores, sample_weight=balanced_weights(truth))
    assert log_loss(truth, scores) == pytest.approx(expected, rel=1e-9)


def test_bins_hold_every_image_once_the_last_one_its_upper_end_too() -> None:
    truth, scores = np.array([False, True, True, False]), np.array([0.0, 1.0, 0.95, 0.05])
    first, last = Reliability(truth, scores).bins()
    assert (first.low, first.images, first.drugs_share) == (0.0, 2, 0.0)
    assert (last.high, last.images, last.drugs_share) == (1.0, 2, 1.0)
    assert last.mean_score == pytest.approx(0.975)
