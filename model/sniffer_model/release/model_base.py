"""Where published versions are: a folder, or a prefix of S3. Both give out whole versions only.

S3 has no rename. There a publisher first creates `VERSION/claim`, which S3 gives to one of several, then uploads, and
puts FACTS_FILE last: a version without it is not complete, and nobody must load it.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from sniffer.adapters.s3.bucket import Bucket
from sniffer.adapters.s3.errors import NotFetched
from sniffer.adapters.s3.locations import S3_SCHEME, open_bucket, split_s3
from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.inside import path_inside
from sniffer.core.json_records import json_values
from sniffer.core.model_records import ModelFacts
from sniffer.core.records import ListedObject
from sniffer.core.settings import fetch_settings
from sniffer.core.temporary import temporary_folder
from sniffer_model.release.publish import (
    FACTS_FILE,
    all_taken,
    digest_directory,
    find_published,
    parse_facts,
    publish,
    published_versions,
    read_facts,
    staging,
)

CLAIM_FILE = "claim"
_LARGEST_FILE_BYTES = 5 << 30
_VERSION = re.compile(r"[1-9][0-9]{0,9}")
"""A version's folder, by its one spelling: `007` would be another folder of version 7."""


class ModelBase(Protocol):
    """A place of versions, each under its number."""

    location: str

    def staging(self) -> AbstractContextManager[Path]:
        """A fresh local directory to make a version in; what is left of it at the end is removed."""

    def versions(self) -> list[int]:
        """The complete versions, ascending."""

    def taken(self) -> list[int]:
        """The versions that are complete, or claimed by somebody who may be at work."""

    def find(self, facts: ModelFacts) -> ModelFacts | None:
        """The newest complete version of the same model, or None."""

    def publish(self, staged: Path, facts: ModelFacts, versions: Iterable[int]) -> ModelFacts:
        """Publish the staged directory under the first of `versions` that is free; the facts with that version.

        Raises ContractError when none is free.
        """

    def fetch(self, version: int, into: Path, digest: str | None = None) -> Path:
        """A local directory with that version, intact; downloaded below `into` if need be.

        Raises SettingsError when it is not there, ContractError when it is not what its facts say, or not the one of
        that digest, which is the one in `models`.
        """


def open_model_base(location: str, patience_s: float | None = None) -> ModelBase:
    """The place at that location, `s3://bucket/prefix` or a folder; raises SettingsError or TransientError.

    `patience_s` bounds how long an S3 that fails is asked again; None: as the settings say.
    """
    if location.startswith(S3_SCHEME):
        name, prefix = split_s3(location)
        fetch = fetch_settings()
        if patience_s is not None:
            fetch = dataclasses.replace(fetch, patience_s=min(patience_s, fetch.patience_s))
        return S3Base(open_bucket(name, fetch, _LARGEST_FILE_BYTES), prefix)
    if "://" in location:
        raise SettingsError(f"the model base path must be a folder or s3://bucket/prefix, not {location!r}")
    return LocalBase(Path(location))


class LocalBase:
    """A folder, as a model server's --model_base_path is."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.location = str(root)

    def staging(self) -> AbstractContextManager[Path]:
        """A fresh directory on the same file system, so that it can be renamed into place."""
        return staging(self._root)

    def versions(self) -> list[int]:
        """The folders with integer names: what a model server would load."""
        return published_versions(self._root)

    def taken(self) -> list[int]:
        """The same: a rename is whole."""
        return self.versions()

    def find(self, facts: ModelFacts) -> ModelFacts | None:
        """The newest intact version of the same model, or None."""
        return find_published(self._root, facts)

    def publish(self, staged: Path, facts: ModelFacts, versions: Iterable[int]) -> ModelFacts:
        """Rename the staged directory into place."""
        return publish(staged, self._root, facts, versions)

    def fetch(self, version: int, into: Path, digest: str | None = None) -> Path:  # noqa: ARG002 - nothing is downloaded
        """The version's own directory."""
        directory = self._root / str(version)
        if not directory.is_dir():
            raise _absent(version, self.location)
        return _intact(directory, read_facts(directory), digest)


class S3Base:
    """A prefix of a bucket. A version is complete once its FACTS_FILE is there, which is put last."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.location = f"{S3_SCHEME}{bucket.name}/{self._prefix}".rstrip("/")

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A temporary directory of this machine."""
        with temporary_folder("sniffer-export-") as folder:
            yield folder

    def versions(self) -> list[int]:
        """The versions with a FACTS_FILE."""
        return sorted(version for version, names in self._files().items() if FACTS_FILE in names)

    def taken(self) -> list[int]:
        """Every version that anything is under."""
        return sorted(self._files())

    def find(self, facts: ModelFacts) -> ModelFacts | None:
        """The newest complete version of the same model, by its facts; S3 itself keeps its bytes."""
        for version in reversed(self.versions()):
            found = self._facts(version)
            if found.same_model(facts):
                return found
        return None

    def publish(self, staged: Path, facts: ModelFacts, versions: Iterable[int]) -> ModelFacts:
        """Claim a version, upload everything, and put FACTS_FILE last. What was interrupted is taken up again."""
        for version in versions:
            if self._claim(version, facts.identity):
                self._upload(version, staged)
                return self._complete(version, facts)
        raise all_taken(self.location)

    def fetch(self, version: int, into: Path, digest: str | None = None) -> Path:
        """Download the version to `into`/VERSION, unless it is there intact already.

        Every name is checked before the first file is written.
        """
        files = self._files().get(version, {})
        if FACTS_FILE not in files:
            raise _absent(version, self.location)
        directory, facts = path_inside(into, str(version)), self._facts(version)
        # Before gigabytes are fetched.
        check_registered(version, facts.digest, digest, self.location)
        paths = {name: path_inside(directory, name) for name in files if name != CLAIM_FILE}
        if not (directory.is_dir() and digest_directory(directory) == facts.digest):
            for name, path in paths.items():
                self._download(version, files[name], path)
        return _intact(directory, facts, digest)

    def _key(self, version: int, name: str) -> str:
        return f"{self._prefix}{version}/{name}"

    def _files(self) -> dict[int, dict[str, ListedObject]]:
        """The files of each version by name, complete or not."""
        found: dict[int, dict[str, ListedObject]] = {}
        for page in self._bucket.pages(self._prefix):
            for entry in page:
                version, _, name = entry.key.removeprefix(self._prefix).partition("/")
                if _VERSION.fullmatch(version) and name:
                    found.setdefault(int(version), {})[name] = entry
        return found

    def _facts(self, version: int) -> ModelFacts:
        key = self._key(version, FACTS_FILE)
        return parse_facts(self._bucket.read(key).data, f"{S3_SCHEME}{self._bucket.name}/{key}")

    def _claim(self, version: int, identity: str) -> bool:
        """Whether the version is ours: nobody's before, or claimed by an interrupted publish of this very model."""
        key = self._key(version, CLAIM_FILE)
        if self._bucket.create(key, identity.encode()):
            return True
        return self._bucket.read(key).data == identity.encode()

    def _upload(self, version: int, staged: Path) -> None:
        for path in sorted(staged.rglob("*")):
            if path.is_file():
                self._bucket.upload(path, self._key(version, path.relative_to(staged).as_posix()))

    def _complete(self, version: int, facts: ModelFacts) -> ModelFacts:
        numbered = dataclasses.replace(facts, version=version)
        self._bucket.create(self._key(version, FACTS_FILE), json.dumps(json_values(numbered)).encode())
        return numbered

    def _download(self, version: int, listed: ListedObject, path: Path) -> None:
        name = listed.key.removeprefix(self._key(version, ""))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._bucket.download(listed, path)
        except NotFetched as error:
            raise ContractError(f"{name} of version {version} in {self.location} cannot be read: {error}") from error
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            # S3 may hold both `a` and `a/b`; no folder can.
            raise ContractError(
                f"{name} of version {version} in {self.location} is a file and a folder at once: it was not written "
                "by `sniffer model export`"
            ) from error


def check_registered(version: int, found: str, registered: str | None, where: object) -> None:
    """Raise ContractError unless the digest found is the registered one; nothing is checked when that is None."""
    if registered is not None and found != registered:
        raise ContractError(
            f"version {version} in {where} is not the one in `models`: its digest is {found}, not {registered}; put "
            "the published files back, check --model-base-path, or export a new version; `sniffer rollout rollback` "
            "goes back to the previous version"
        )


def _absent(version: int, location: str) -> SettingsError:
    return SettingsError(f"there is no complete version {version} in {location}: check --model-base-path")


def _intact(directory: Path, facts: ModelFacts, registered: str | None) -> Path:
    found = digest_directory(directory)
    if found != facts.digest:
        raise ContractError(
            f"{directory} is not what was published as version {facts.version}: its digest differs, it is {found}, not "
            f"{facts.digest}; put the published files back, or export a new version"
        )
    check_registered(facts.version, found, registered, directory)
    return directory
