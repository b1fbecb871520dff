"""What the gate asks of a candidate, as its flags and Airflow's form have it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from sniffer.core.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Limits:
    """What a candidate must achieve. A loss counts when it exceeds its limit and its interval excludes zero.

    `None` limits are not checked. `min_class_images` is of each class in the validation and in the test split.
    `capacity_tolerance` is by how much the most flags that the test split leaves possible may exceed the capacity.
    """

    min_pr_auc: float = 0.80
    min_roc_auc: float = 0.90
    min_recall: float | None = None
    min_nightly_precision: float | None = None
    max_recall_loss: float = 0.02
    max_precision_loss: float = 0.05
    max_slice_loss: float = 0.05
    min_slice_images: int = 20
    min_class_images: int = 100
    capacity_tolerance: float = 0.25

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            # Written so that NaN is refused too.
            if value is not None and not 0 <= value < math.inf:
                raise SettingsError(f"--{field.name.replace('_', '-')} must be a number from 0 on, not {value:g}")

    def laxer(self) -> dict[str, tuple[float, float]]:
        """The limits that ask for less than the defaults, each as it is and as it is by default."""
        default = Limits()
        found = {}
        for field in fields(self):
            own, usual = getattr(self, field.name), getattr(default, field.name)
            if own is None or usual is None:
                continue
            asks_for_less = own < usual if field.name in _LEAST else own > usual
            if asks_for_less:
                found[field.name] = (own, usual)
        return found


_LEAST = ("min_pr_auc", "min_roc_auc", "min_class_images")
"""The limits that ask for less when they are smaller; all others do when they are larger."""
