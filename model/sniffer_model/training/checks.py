"""What must hold of the data before a training goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sniffer.core.errors import SettingsError
from sniffer.core.model_records import LABELS
from sniffer_model.data.manifest import Split

if TYPE_CHECKING:
    from sniffer_model.training.features import LabelledFeatures


def check_both_classes(split: Split, data: LabelledFeatures) -> None:
    """Raise SettingsError when the images that could be read are of one class only."""
    for label, count in data.sizes().items():
        if not count:
            raise SettingsError(
                f"no image of the class {label!r} in the {split} split can be read any more "
                f"({data.left_out} images are gone or changed): take a new snapshot; classes are {' and '.join(LABELS)}"
            )
