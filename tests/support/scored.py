"""Random cases of scored images, for properties."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from sniffer_model.statistics.metrics import Scores, Truth


@st.composite
def scored_images(draw: st.DrawFn) -> tuple[Truth, Scores]:
    """Both classes present; few distinct scores, so that ties are the rule."""
    count = draw(st.integers(2, 60))
    truth = draw(st.lists(st.booleans(), min_size=count, max_size=count).filter(lambda t: 0 < sum(t) < len(t)))
    levels = draw(st.integers(1, 40))
    scores = draw(st.lists(st.integers(0, levels), min_size=count, max_size=count))
    return np.array(truth), (np.array(scores) / levels).astype(np.float32)
