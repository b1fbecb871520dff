"""One training run's places, as the tests of the training path share them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sniffer_model.workdir import Workdir

NIGHT = ("--prevalence", "0.5", "--target-precision", "0.5")
"""What the few images of the tests can show: of nights with as many drugs as others, that most flags are right."""
FEW_IMAGES = ("--min-class-images", "15")


@dataclass(frozen=True)
class Run:
    """Where a run's images, workdir and features are."""

    images: Path
    workdir: Workdir
    feature_cache: Path

    @property
    def workdir_flags(self) -> list[str]:
        """The flag that every program has."""
        return ["--workdir", str(self.workdir.path)]

    @property
    def flags(self) -> list[str]:
        """The flags of the programs that need features."""
        return [*self.workdir_flags, "--feature-cache", str(self.feature_cache)]
