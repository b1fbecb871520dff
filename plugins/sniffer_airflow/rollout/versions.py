"""What the table `models` says of a rollout's version: the facts that `plan` chooses by, and what the gate said of it.

Events of Assets are no such facts: anybody may create one, and Airflow loses those that come while a run waits.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from sniffer.core.changed_images import ChangedImages
from sniffer.core.model_records import ModelRecord, ModelStatus
from sniffer.core.settings import database_settings
from sniffer_airflow.executors.connections import fetch, program_environ

_EXPORTED = (ModelStatus.BLESSED, ModelStatus.STABLE, ModelStatus.PREVIOUS)


@dataclass(frozen=True)
class KnownVersions:
    """The newest exported version, the one that a roll-back goes to, and whether the newest ever was stable."""

    newest: int | None
    previous: int | None
    newest_was_stable: bool

    @property
    def newest_is_new(self) -> bool:
        """Whether there is a version that an automatic rollout is still to bring into production."""
        return self.newest is not None and not self.newest_was_stable


@dataclass(frozen=True)
class GateRemarks:
    """What whoever approves a version must know of its verdict: its warnings, and who overrode it and why."""

    warnings: tuple[str, ...] = ()
    overridden_by: str | None = None
    override_reason: str | None = None


def read_versions() -> KnownVersions:
    """Ask the table `models`."""
    from sniffer.adapters.mysql.database import Database  # SQLAlchemy: 0.5 s that parsing a DAG file must not pay

    with Database(database_settings(_environ())) as database:
        exported = database.models.of_status(*_EXPORTED)
        newest: ModelRecord | None = exported[0] if exported else None
        previous = database.models.previous()
        was_stable = newest is not None and (
            newest.status is not ModelStatus.BLESSED or bool(database.models.stable_changes(newest.version))
        )
    return KnownVersions(_number(newest), _number(previous), was_stable)


def read_remarks(version: int) -> GateRemarks:
    """Ask for the verdict in force on that version."""
    from sniffer.adapters.mysql.database import Database

    with Database(database_settings(_environ())) as database:
        verdict = database.models.verdict(version)
    if verdict is None:
        return GateRemarks()
    return GateRemarks(verdict.warnings, verdict.overridden_by, verdict.override_reason)


def read_changed_images(version: int) -> ChangedImages | None:
    """Ask which test images the gate saw change, None when it had no stable version to compare with."""
    from sniffer.adapters.mysql.database import Database

    with Database(database_settings(_environ())) as database:
        return database.models.changed_images(version)


def _number(record: ModelRecord | None) -> int | None:
    return None if record is None else record.version


def database_secret() -> str:
    """The address of the database with its password: whoever knows it could write into `models` himself."""
    return database_settings(_environ()).url.reveal()


def _environ() -> dict[str, str]:
    return program_environ(os.environ, fetch(aws=False, serving=False))
