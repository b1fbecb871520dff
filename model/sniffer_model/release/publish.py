"""From a finished version directory to a version that a model server loads: digest, facts, atomic rename.

A model server takes every directory with an integer name for a complete version. So a version is made in a
sibling whose name is no integer, on the same file system, and renamed as the last act.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.files import read_json, write_json
from sniffer.core.json_records import parse_record
from sniffer.core.model_records import PIXELS_SIGNATURE, ModelFacts

FACTS_FILE = "sniffer_model.json"
ENCODED_SIGNATURE = "serving_default"
SIGNATURES = (PIXELS_SIGNATURE, ENCODED_SIGNATURE)
"""What an exported model offers: `pixels` for the fleet, encoded images for people and curl."""
_STAGING_PREFIX = ".staging-"
_STAGING_LIFETIME_S = 24 * 3600.0
_CHUNK_BYTES = 1 << 20


@contextmanager
def staging(base: Path) -> Iterator[Path]:
    """A fresh directory in `base` that no server loads; what is left of it at the end is removed."""
    try:
        base.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(base)
        staged = Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=base))
        # mkdtemp makes it private, but a model server may run as another user.
        staged.chmod(0o755)
    except OSError as error:
        raise SettingsError(f"cannot write to the model folder {base}: {error.strerror}") from error
    try:
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)


_VERSION = re.compile(r"0*[0-9]{1,10}")
"""Not the digits of other scripts, nor more than a number of MySQL's and a server's has."""


def publish(staged: Path, base: Path, facts: ModelFacts, versions: Iterable[int]) -> ModelFacts:
    """Rename the staged directory to the first of `versions` that is free in `base`; returns the facts with it.

    Of several publishers at once each gets a version of its own. An interruption at any point leaves a complete
    version or none. Raises ContractError when none of the versions is free.
    """
    for version in versions:
        numbered = dataclasses.replace(facts, version=version)
        write_json(staged / FACTS_FILE, numbered)
        sync_tree(staged)
        if _renamed(staged, base / str(version)):
            return numbered
    raise all_taken(base)


def published_versions(base: Path) -> list[int]:
    """The versions in `base`, ascending, as a model server would see them."""
    try:
        return sorted(int(child.name) for child in base.iterdir() if _VERSION.fullmatch(child.name) and child.is_dir())
    except FileNotFoundError:
        return []


def all_taken(base: object) -> ContractError:
    """What to raise when every version that a model may have is another's."""
    return ContractError(
        f"the version of this model in {base} holds another model, or this one as another release exported it: train "
        "with another --seed for a new version"
    )


def find_published(base: Path, facts: ModelFacts) -> ModelFacts | None:
    """The newest intact version in `base` of the same model, or None."""
    for version in reversed(published_versions(base)):
        directory = base / str(version)
        if (directory / FACTS_FILE).exists():
            found = read_facts(directory)
            if found.same_model(facts) and found.digest == digest_directory(directory):
                return found
    return None


def read_facts(directory: Path) -> ModelFacts:
    """The facts of a published version; raises SettingsError when missing, ContractError when of another form."""
    return read_json(directory / FACTS_FILE, ModelFacts, made_by="sniffer model export")


def parse_facts(data: bytes, where: object) -> ModelFacts:
    """The facts in JSON that comes from `where`; raises ContractError when of another form."""
    try:
        values = json.loads(data)
    except ValueError as error:
        raise ContractError(f"{where} is not JSON ({error}): export again") from error
    return parse_record(values, ModelFacts, where, "export again")


def digest_directory(directory: Path) -> str:
    """SHA-256 over the names and contents of all files but FACTS_FILE, which names the digest itself.

    Independent of times, owners and the file system's order. Raises ContractError where there is a symbolic link: what
    is behind one to a folder would be served, and not be in the digest.
    """
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*"), key=lambda path: path.relative_to(directory).as_posix()):
        name = path.relative_to(directory).as_posix()
        if path.is_symlink():
            raise ContractError(f"{directory} holds the symbolic link {name}: a version is made of files alone")
        if path.is_file() and name != FACTS_FILE:
            digest.update(f"{digest_file(path)} {name}\n".encode())
    return digest.hexdigest()


def digest_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _renamed(staged: Path, target: Path) -> bool:
    try:
        os.rename(staged, target)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            return False
        raise SettingsError(f"cannot publish as {target}: {error.strerror}") from error
    sync_path(target.parent)
    return True


def _remove_abandoned(base: Path) -> None:
    """Remove what publishers left behind that were killed long ago; a living one is done in minutes."""
    for path in base.glob(f"{_STAGING_PREFIX}*"):
        try:
            age_s = time.time() - path.stat().st_mtime
        except FileNotFoundError:
            continue  # its publisher is done with it just now
        if age_s > _STAGING_LIFETIME_S:
            shutil.rmtree(path, ignore_errors=True)


def sync_tree(directory: Path) -> None:
    """Bring everything to the disk before the rename does: a power cut must not leave a numbered half version."""
    for path in directory.rglob("*"):
        sync_path(path)
    sync_path(directory)


def sync_path(path: Path) -> None:
    """Bring one file, or a directory's own entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
