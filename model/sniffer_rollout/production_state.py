"""What the database says is in production, and what the model servers are to serve because of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sniffer.adapters.mysql.database import Database
from sniffer.core.model_records import ModelRecord
from sniffer.core.shard_records import HalfDonePlan
from sniffer_rollout.aspired import Aspired


@dataclass(frozen=True, slots=True)
class ProductionState:
    """The stable and the previous model, None before there is one; the versions that scans are pinned to which run, or
    are in shards and half done.

    `digests` are those in `models` of all of them.
    """

    stable: ModelRecord | None
    previous: ModelRecord | None
    scanning: frozenset[int]
    half_done: tuple[HalfDonePlan, ...] = ()
    """Scans in shards that go on some time: their versions are among `scanning`."""
    digests: Mapping[int, str] = field(default_factory=dict)

    @property
    def stable_version(self) -> int | None:
        """The version that the label `stable` points to."""
        return self.stable.version if self.stable else None

    @property
    def previous_version(self) -> int | None:
        """The version that a rollback goes to."""
        return self.previous.version if self.previous else None

    @property
    def versions(self) -> frozenset[int]:
        """All that production needs."""
        return self.retained_versions | ({self.stable.version} if self.stable else set())

    @property
    def retained_versions(self) -> frozenset[int]:
        """What stays loaded beside the stable version while it can be had: the previous one, those of running scans."""
        previous = {self.previous.version} if self.previous else set()
        return (self.scanning | previous) - {self.stable_version}

    def kept_for_plans(self) -> list[str]:
        """Why versions stay loaded that nothing else needs, in words."""
        needed = {self.stable_version, self.previous_version}
        return [str(plan) for plan in self.half_done if plan.model_version not in needed]

    def aspired(self, missing: Collection[int] = ()) -> Aspired:
        """What the model servers serve when no rollout is under way; `missing` versions cannot be had any more."""
        everything = Aspired.of(self.retained_versions, stable=self.stable_version)
        return everything.without(missing).with_digests(self.digests)


def read_production_state(database: Database) -> ProductionState:
    """The state now."""
    stable, previous = database.models.stable(), database.models.previous()
    half_done = tuple(database.shards.half_done())
    scanning = frozenset(database.scans.running_versions() | {plan.model_version for plan in half_done})
    known = [stable, previous, *(database.models.get(version) for version in sorted(scanning))]
    digests = {record.version: record.digest for record in known if record is not None}
    return ProductionState(stable, previous, scanning, half_done, digests)
