"""The desired serving state: versions and labels, as aspired.json and as TensorFlow Serving's config file.

"Aspired" is TensorFlow Serving's own word for the versions that a server is asked to serve.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sniffer.core.errors import ContractError
from sniffer.core.model_records import MODEL_NAME
from sniffer.core.text import one_line

ASPIRED_FILE = "aspired.json"
CONFIG_FILE = "models.config"
STABLE = "stable"
CANARY = "canary"
VERIFIED = "verified"
"""Set beside CANARY once the loaded version has passed the step `verify`."""
_DIGEST = re.compile(r"[0-9a-f]{64}")


class UnreadableState(ContractError):
    """A desired state that is of no use; `restore` and `rollback` replace it."""


@dataclass(frozen=True, slots=True)
class Aspired:
    """The versions to keep loaded, ascending, and labels that each point to one of them. ContractError otherwise.

    `digests` are the versions' digests in the table `models`, hex SHA-256: what is served must have them. Only states
    of an older release lack some.
    """

    versions: tuple[int, ...] = ()
    labels: Mapping[str, int] = field(default_factory=dict)
    digests: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if list(self.versions) != sorted(set(self.versions)) or any(version < 1 for version in self.versions):
            raise ContractError(f"aspired versions must be distinct, ascending and above 0, not {self.versions}")
        for label, version in self.labels.items():
            if version not in self.versions:
                raise ContractError(f"the label {label!r} names version {version}, which is not among {self.versions}")
        for version, digest in self.digests.items():
            if version not in self.versions:
                raise ContractError(f"there is a digest of version {version}, which is not among {self.versions}")
            if not _DIGEST.fullmatch(digest):
                raise ContractError(f"the digest of version {version} must be 64 hexadecimal digits, not {digest!r}")

    @classmethod
    def of(cls, versions: Iterable[int], /, **labels: int | None) -> Aspired:
        """The versions in order, and those labels that point to one."""
        named = {label: version for label, version in labels.items() if version is not None}
        return cls(tuple(sorted(set(versions) | set(named.values()))), named)

    def with_digests(self, digests: Mapping[int, str]) -> Aspired:
        """The same, with those of these digests that are of its versions, beside its own."""
        known = {**self.digests, **digests}
        return dataclasses.replace(self, digests={v: known[v] for v in self.versions if known.get(v)})

    def beside(self, version: int, digest: str) -> Aspired:
        """The same, and that version loaded too; `digest` is the one in `models`."""
        return Aspired.of({*self.versions, version}, **self.labels).with_digests({**self.digests, version: digest})

    def labelled(self, **labels: int | None) -> Aspired:
        """The same versions with these labels alone."""
        return Aspired.of(self.versions, **labels).with_digests(self.digests)

    def without(self, versions: Collection[int]) -> Aspired:
        """The same without these versions and the labels that point to them."""
        labels = {label: version for label, version in self.labels.items() if version not in versions}
        return Aspired.of(set(self.versions) - set(versions), **labels).with_digests(self.digests)

    def tidied(self, needed: Collection[int], keep: int | None, stable: int | None) -> Aspired:
        """Those of its versions that are needed, or `keep`; the label STABLE on `stable`, unless `keep` has it."""
        kept = {version for version in self.versions if version in needed or version == keep}
        pointed = {STABLE: stable} if stable in kept else {}
        labels = {label: version for label, version in self.labels.items() if version == keep}
        return Aspired.of(kept, **{**pointed, **labels}).with_digests(self.digests)

    @property
    def digest(self) -> str:
        """SHA-256 of the state, as 64 hexadecimal digits."""
        return hashlib.sha256(self.json().encode()).hexdigest()

    def json(self) -> str:
        """One line of JSON, the same for the same content."""
        parts: dict[str, object] = {"versions": list(self.versions), "labels": dict(self.labels)}
        if self.digests:
            # Releases that know no digests read the rest.
            parts["digests"] = {str(version): digest for version, digest in self.digests.items()}
        return json.dumps(parts, sort_keys=True)

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
    """The state in JSON that comes from `where`; raises UnreadableState when it is of another form."""
    try:
        document = json.loads(text)
        versions, labels, digests = document["versions"], document["labels"], document.get("digests", {})
        whole = [*versions, *labels.values()]
        if any(type(version) is not int for version in whole):
            raise TypeError("versions must be whole numbers")
        return Aspired(tuple(versions), dict(labels), {int(version): digest for version, digest in digests.items()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ContractError) as error:
        raise UnreadableState(
            f'{where} must look like {{"versions":[3],"labels":{{"stable":3}}}}, not {one_line(text[:200])!r} '
            f"({error}): run `sniffer rollout restore`"
        ) from error


def read_aspired(path: Path) -> Aspired:
    """The state in that file, empty when it is missing; raises UnreadableState."""
    try:
        return parse_aspired(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError:
        return Aspired()
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableState(f"cannot read {path} ({error}): run `sniffer rollout restore`") from error


def _quoted(text: str) -> str:
    """A string literal of protobuf's text format; bytes that are not plain printable ASCII as three octal digits."""
    plain = "".join(chr(c) if 32 <= c < 127 and c not in b'"\\' else f"\\{c:03o}" for c in text.encode())
    return f'"{plain}"'
