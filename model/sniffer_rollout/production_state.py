"""What the database says is in production, and what the model servers are to serve because of it."""

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
        """The version that the label `stable` points to."""
        return self.stable.version if self.stable else None

    @property
    def previous_version(self) -> int | None:
        """The version that a rollback goes to."""
        return self.previous.version if self.previous else None

    @property
    def retained_versions(self) -> frozenset[int]:
        """What stays loaded beside the stable version while it can be had: the previous one, those of running scans."""
        previous = {self.previous.version} if self.previous else set()
        return (self.scanning | previous) - {self.stable_version}

    def aspired(self, missing: Collection[int] = ()) -> Aspired:
        """What the model servers serve when no rollout is under way; `missing` versions cannot be had any more."""
        return Aspired.of(self.retained_versions - set(missing), stable=self.stable_version)


def read_production_state(database: Database) -> ProductionState:
    """The state now."""
    return ProductionState(
        database.models.stable(), database.models.previous(), frozenset(database.scans.running_versions())
    )
