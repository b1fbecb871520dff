"""A target on this machine: a directory with aspired.json and the config file that its model servers watch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.files import write_text
from sniffer.core.redaction import SecretUrl
from sniffer_model.release.model_base import check_registered
from sniffer_model.release.publish import digest_directory, published_versions
from sniffer_rollout.aspired import ASPIRED_FILE, CONFIG_FILE, Aspired, read_aspired
from sniffer_rollout.targets.target import IN_PLACE, Mode, Replicas, Target


class LocalTarget:
    """Model servers with `--model_config_file=FOLDER/models.config` that poll it and load from the local model base."""

    def __init__(self, folder: Path, model_base: str, replicas: tuple[SecretUrl, ...]) -> None:
        if "://" in model_base:
            raise SettingsError(
                f"a local target serves from a folder, not from {model_base}: bring the versions there by "
                "`sniffer rollout sync`, and give that folder as --model-base-path"
            )
        if not replicas:
            raise SettingsError(
                "a local target needs its model servers: set SNIFFER_SERVING_REPLICAS to http://host:port,…, or "
                "SNIFFER_SERVING_URL"
            )
        self.description = f"local:{folder}"
        self._folder = folder
        self._base = Path(model_base)
        self._replicas = replicas
        self._proven: set[tuple[int, str]] = set()

    @property
    def config(self) -> Path:
        """The model servers' --model_config_file."""
        return self._folder / CONFIG_FILE

    def mode(self) -> Mode:
        """Always in place: there is only this machine."""
        return Mode(IN_PLACE, "on one machine a new version is loaded beside the others")

    def read_aspired(self) -> Aspired:
        """What the servers were last told."""
        return read_aspired(self._folder / ASPIRED_FILE)

    def unservable(self, aspired: Aspired) -> Mapping[int, str]:
        """Versions that are not in the model base, or not the registered ones; nothing for a base without any version.

        That one is rather the wrong one, and to unload everything because of it would be worse.
        """
        if not published_versions(self._base):
            return {}
        problems = {version: self._problem(version, aspired.digests.get(version)) for version in aspired.versions}
        return {version: problem for version, problem in problems.items() if problem}

    def apply(self, aspired: Aspired) -> None:
        """Replace both files, each as a whole. ContractError when a version is not in the model base as registered."""
        for version in aspired.versions:
            if problem := self._problem(version, aspired.digests.get(version)):
                raise ContractError(problem)
        write_text(self._folder / ASPIRED_FILE, aspired.json() + "\n")
        write_text(self.config, aspired.server_config(self._base))

    def _problem(self, version: int, digest: str | None) -> str:
        """Why the servers must not load that version; "" when nothing is wrong with it."""
        directory = self._base / str(version)
        if not directory.is_dir():
            return (
                f"there is no version {version} in {self._base}: check --model-base-path, put its files back, or go "
                "back to the previous version by `sniffer rollout rollback`"
            )
        if digest is None or (version, digest) in self._proven:
            return ""
        try:
            check_registered(version, digest_directory(directory), digest, self._base)
        except ContractError as error:
            return str(error)
        except OSError as error:
            return f"cannot read version {version} in {self._base}: {error}"
        self._proven.add((version, digest))
        return ""

    def replicas(self) -> Replicas:
        """The servers that the settings name."""
        return Replicas(self._replicas, len(self._replicas))

    def denied_rights(self) -> list[str]:
        """Writing below the folder, when this user may not."""
        return [] if os.access(self._folder, os.W_OK) else [f"write {self._folder}"]

    def canary(self) -> AbstractContextManager[Target]:
        """Not possible on one machine; `mode` never asks for it."""
        raise NotImplementedError(f"{self.description} has no other server")

    def tidy(self) -> None:
        """Does nothing: there are only the two files."""
