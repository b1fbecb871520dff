"""The version that is rolled out: its row in `models`, and its published files, which must be the same model."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

from sniffer.adapters.images import PREPROCESSING_VERSION
from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import ContractError, SettingsError, SnifferError
from sniffer.core.model_records import ModelFacts, ModelRecord, ModelStatus
from sniffer_model.release.golden import GoldenExample, read_golden
from sniffer_model.release.model_base import ModelBase, open_model_base
from sniffer_model.release.publish import read_facts

log = logging.getLogger(__name__)

_LOOK_PATIENCE_S = 10.0
"""How long a model base that fails is asked which versions it has: what serves must not wait for it."""

_USABLE = (ModelStatus.BLESSED, ModelStatus.STABLE, ModelStatus.PREVIOUS)


class Candidates:
    """Registered versions and their files in the model base. `downloads` is a folder for versions fetched from S3."""

    def __init__(self, database: Database, model_base: str, downloads: Path) -> None:
        self._database = database
        self._model_base = model_base
        self._downloads = downloads
        self._opened: ModelBase | None = None
        self._fetched: dict[int, Path] = {}

    def find(self, asked: int | None) -> ModelRecord:
        """The row of the version, or of the newest blessed one that is complete and newer than the stable one.

        Raises SettingsError when there is none, ContractError for one that the gate did not bless.
        """
        if asked is None:
            return self._newest_blessed()
        record = self._database.models.get(asked)
        if record is None or record.digest == "":
            raise SettingsError(f"version {asked} is not in `models`: export it first, with the database")
        if record.status not in _USABLE:
            raise ContractError(f"version {asked} is {record.status}: only what the gate blessed is rolled out")
        return record

    def files(self, record: ModelRecord) -> Path:
        """The published version's folder, fetched once; raises ContractError unless it is the registered model."""
        if record.version not in self._fetched:
            directory = self._base.fetch(record.version, self._downloads, record.digest)
            _check_preprocessing(record, read_facts(directory))
            self._fetched[record.version] = directory
        return self._fetched[record.version]

    def golden(self, record: ModelRecord) -> tuple[GoldenExample, ...]:
        """The golden examples that the version was published with."""
        return read_golden(self.files(record))

    def missing(self, versions: Collection[int]) -> set[int] | None:
        """Which of these versions the model base does not have (any more); None when it does not say.

        A base without any version says nothing: it is rather the wrong one, or not mounted.
        """
        if not self._model_base:
            log.warning("cannot see which versions are published: no model base is named")
            return None
        try:
            there = self._opened or open_model_base(self._model_base, _LOOK_PATIENCE_S)
            found = there.versions()
        except SnifferError as error:
            log.warning("cannot see which versions are in %s: %s", self._model_base, error)
            return None
        if not found:
            log.warning("there is no version at all in %s: check --model-base-path", self._model_base)
            return None
        return set(versions) - set(found)

    @property
    def _base(self) -> ModelBase:
        if self._opened is None:
            self._opened = open_model_base(self._model_base)
        return self._opened

    def _newest_blessed(self) -> ModelRecord:
        stable = self._database.models.stable()
        above = stable.version if stable else 0
        complete = set(self._base.versions())
        for record in self._database.models.of_status(ModelStatus.BLESSED):
            if record.version > above and record.version in complete:
                return record
        raise SettingsError(
            f"there is no blessed, complete version above the stable one ({above or 'none yet'}) in "
            f"{self._base.location}: train and export one, or name one by --version"
        )


def _check_preprocessing(record: ModelRecord, facts: ModelFacts) -> None:
    for where, found in (("published", facts.preprocessing_version), ("registered", record.preprocessing_version)):
        if found != PREPROCESSING_VERSION:
            raise ContractError(
                f"version {record.version} is {where} with preprocessing {found!r}, this release makes "
                f"{PREPROCESSING_VERSION!r}: roll out with the release it was trained with, or retrain"
            )
