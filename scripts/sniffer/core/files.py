"""Files that are replaced as a whole, and read with an error that says which program makes them."""

from __future__ import annotations

import fcntl
import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.json_records import RecordT, json_values, parse_record

_PART_ID = re.compile("[0-9a-f]{32}")


def write_json(path: Path, record: object, *, private: bool = False) -> None:
    """Replace the file by that record as JSON, with sorted keys, so that the same content is the same bytes."""
    text = json.dumps(json_values(record), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text, private=private)


def check_writable(path: Path) -> None:
    """Fail before the work begins, not after it, when the file could not be written; raises SettingsError.

    What is in the file stays as it is.
    """
    if path.is_dir():
        raise SettingsError(f"cannot write {path}: it is a folder, give the name of a file")
    try:
        if _is_device(path):
            path.open("a").close()
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        part, file = _fresh_part(path.parent, path.name, 0o600)
        part.unlink()  # before its lock goes: then nobody takes it for a dead process's
        file.close()
    except OSError as error:
        raise SettingsError(f"cannot write {path}: {error.strerror}") from error


def read_json(path: Path, kind: type[RecordT], *, made_by: str) -> RecordT:
    """The record of that type in the file; raises SettingsError when missing, ContractError when of another form."""
    remedy = f"run `{made_by}` again"
    try:
        values = json.loads(read_text(path, made_by=made_by))
    except ValueError as error:
        raise ContractError(f"{path} is not JSON ({error}): {remedy}") from error
    return parse_record(values, kind, path, remedy)


def write_text(path: Path, text: str, *, private: bool = False) -> None:
    """Replace the file as a whole; folders are made. A device, such as /dev/stdout, is written to.

    A private one, and the folder that is made for it, is for its owner alone from its first moment on.
    """
    try:
        if _is_device(path):
            path.write_text(text, encoding="utf-8")
            return
        path.parent.mkdir(0o700 if private else 0o777, parents=True, exist_ok=True)
        with replacing(path, private=private) as file:
            file.write(text.encode())
    except OSError as error:
        raise SettingsError(f"cannot write {path}: {error.strerror}") from error


@contextmanager
def replacing(path: Path, *, private: bool = False, family: str = "") -> Iterator[BinaryIO]:
    """What is written in the block becomes that file at its end, as a whole, or leaves nothing.

    What killed processes left is removed: of that very file, or of all with the same `family`. Raises OSError.
    """
    family = family or path.name
    part, file = _fresh_part(path.parent, family, 0o600 if private else 0o666)
    try:
        with file:
            _sweep(path.parent, family)
            yield file
            file.flush()
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _fresh_part(folder: Path, family: str, mode: int) -> tuple[Path, BinaryIO]:
    """A file that is locked for as long as its writer lives."""
    while True:
        part = _part(folder, family)
        file = os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, mode), "wb")
        with suppress(OSError):  # no locks here: then nobody can take it for a dead process's either
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return part, file
        file.close()  # somebody took it for a dead process's before it was locked


def _sweep(folder: Path, family: str) -> None:
    prefix = f".{family}-"
    for name in os.listdir(folder):
        if name.startswith(prefix) and _PART_ID.fullmatch(name[len(prefix) :]):
            with suppress(OSError):  # it is not dead, not ours, or gone meanwhile
                _remove_dead(folder / name)


def _remove_dead(part: Path) -> None:
    descriptor = os.open(part, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        part.unlink()
    finally:
        os.close(descriptor)


def _is_device(path: Path) -> bool:
    """Whether it is there, and is neither a file nor a folder: to replace it would take it from everybody."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _part(folder: Path, family: str) -> Path:
    # Not tempfile's: its files are private, but a model server may run as another user.
    return folder / f".{family}-{uuid.uuid4().hex}"


def read_text(path: Path, *, made_by: str) -> str:
    """The file's text; raises SettingsError that names the program which makes it."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(f"{path} does not exist: run `{made_by}` first") from None
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
