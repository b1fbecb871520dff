"""The desired serving state: versions and labels, as aspired.json and as TensorFlow Serving's config file.

"Aspired" is TensorFlow Serving's own word for the versions that a server is asked to serve.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.model_records import MODEL_NAME

ASPIRED_FILE = "aspired.json"
CONFIG_FILE = "models.config"
STABLE = "stable"
CANARY = "canary"
VERIFIED = "verified"
"""Set beside CANARY once the loaded version has passed the step `verify`."""


@dataclass(frozen=True, slots=True)
class Aspired:
    """The versions to keep loaded, ascending, and labels that each point to one of them. ContractError otherwise."""

    versions: tuple[int, ...] = ()
    labels: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if list(self.versions) != sorted(set(self.versions)) or any(version < 1 for version in self.versions):
            raise ContractError(f"aspired versions must be distinct, ascending and above 0, not {self.versions}")
        for label, version in self.labels.items():
            if version not in self.versions:
                raise ContractError(f"the label {label!r} names version {version}, which is not among {self.versions}")

    @classmethod
    def of(cls, versions: Iterable[int], **labels: int | None) -> Aspired:
        """The versions in order, and those labels that point to one."""
        named = {label: version for label, version in labels.items() if version is not None}
        return cls(tuple(sorted(set(versions) | set(named.values()))), named)

    def beside(self, version: int) -> Aspired:
        """The same, and that version loaded too."""
        return Aspired.of({*self.versions, version}, **self.labels)

    def labelled(self, **labels: int | None) -> Aspired:
        """The same versions with these labels alone."""
        return Aspired.of(self.versions, **labels)

    @property
    def digest(self) -> str:
        """SHA-256 of the state, as 64 hexadecimal digits."""
        return hashlib.sha256(self.json().encode()).hexdigest()

    def json(self) -> str:
        """One line of JSON, the same for the same content."""
        return json.dumps({"versions": list(self.versions), "labels": dict(self.labels)}, sort_keys=True)

    def server_config(self, base_path: Path) -> str:
        """A ModelServerConfig in text form that serves these versions of MODEL_NAME under `base_path`."""
        if not self.versions:
            return "model_config_list {}\n"
        versions = "".join(f"        versions: {version}\n" for version in self.versions)
        labels = "".join(
            f"    version_labels {{ key: {_quoted(label)} value: {version} }}\n"
            for label, version in sorted(self.labels.items())
        )
        return (
            "model_config_list {\n"
            "  config {\n"
            f"    name: {_quoted(MODEL_NAME)}\n"
            f"    base_path: {_quoted(str(base_path.absolute()))}\n"
            '    model_platform: "tensorflow"\n'
            "    model_version_policy {\n"
            "      specific {\n"
            f"{versions}"
            "      }\n"
            "    }\n"
            f"{labels}"
            "  }\n"
            "}\n"
        )


def parse_aspired(text: str, where: object) -> Aspired:
    """The state in JSON that comes from `where`; raises ContractError when it is of another form."""
    try:
        document = json.loads(text)
        versions, labels = document["versions"], document["labels"]
        whole = [*versions, *labels.values()]
        if any(type(version) is not int for version in whole):
            raise TypeError("versions must be whole numbers")
        return Aspired(tuple(versions), dict(labels))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ContractError(
            f'{where} must look like {{"versions":[3],"labels":{{"stable":3}}}}, not {text[:200]!r} ({error}): run '
            "`sniffer rollout restore`"
        ) from error


def read_aspired(path: Path) -> Aspired:
    """The state in that file, empty when it is missing. Raises SettingsError or ContractError."""
    try:
        return parse_aspired(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError:
        return Aspired()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {path}: {error}") from error


def _quoted(text: str) -> str:
    """A string literal of protobuf's text format; bytes that are not plain printable ASCII as three octal digits."""
    plain = "".join(chr(c) if 32 <= c < 127 and c not in b'"\\' else f"\\{c:03o}" for c in text.encode())
    return f'"{plain}"'
