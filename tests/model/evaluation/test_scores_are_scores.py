"""What a model gives for scores is looked at before anything is concluded from it."""

from __future__ import annotations

import numpy as np
import pytest

from sniffer.core.errors import ContractError
from sniffer_model.evaluation.evaluated_run import check_scores


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -0.01, 1.01])
def test_what_is_no_score_is_counted_and_refused(wrong: float) -> None:
    with pytest.raises(ContractError, match="the model in /w gives 2 of 4 images no score from 0 to 1: train again"):
        check_scores(np.array([0.2, wrong, 1.0, wrong], np.float32), "the model in /w")


def test_both_ends_are_scores() -> None:
    check_scores(np.array([0.0, 1.0, 0.5]), "the model")
    check_scores(np.array([]), "the model")
