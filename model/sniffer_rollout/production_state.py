"""What the database says is in production, and what the model servers shall serve by it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sniffer.adapters.mysql.database import Database
from sniffer.core.model_records import ModelRecord
from sniffer_rollout.aspired import Aspired


@dataclass(frozen=True, slots=True)
class ProductionState:
    """The stable and the previous model, None before there is one; the versions that running scans are pinned to."""

    stable: ModelRecord | None
    previous: ModelRecord | None
    scanning: frozenset[int]

    @property
    def stable_version(self) -> int | None:
        """The version that the label `stable` stands for."""
        return self.stable.version if self.stable else None

    @property
    def optional(self) -> frozenset[int]:
        """What stays loaded as long as it can be had: the previous version, and what scans are pinned to."""
        previous = {self.previous.version} if self.previous else set()
        return (self.scanning | previous) - {self.stable_version}

    def aspired(self, lost: Collection[int] = ()) -> Aspired:
        """What the model servers serve when no rollout is under way; `lost` versions cannot be had any more."""
        return Aspired.of(self.optional - set(lost), stable=self.stable_version)


def read_standing(database: Database) -> ProductionState:
    """The standing now."""
    return ProductionState(
        database.models.stable(), database.models.previous(), frozenset(database.scans.running_versions())
    )
