"""The frozen list of labelled images that a model is trained and judged on: types, split rule, digest, file.

Everything downstream names the digest, so a figure can always be traced to the very bytes behind it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.files import read_text, write_text
from sniffer.core.json_records import parse_record
from sniffer.core.model_records import LABELS

_FORMAT = 2


class Split(StrEnum):
    """What an image is for: fitting the head, stopping and choosing the threshold, or the final judgement."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class SplitFractions:
    """How much of the data is held out. The rest is for training."""

    validation: float = 0.2
    test: float = 0.2

    def __post_init__(self) -> None:
        if not (self.validation > 0 and self.test > 0 and self.validation + self.test < 1):
            raise SettingsError(
                f"the validation and test fractions must be above 0 and together below 1, not {self.validation:g} "
                f"and {self.test:g}"
            )

    def next_split(self, sizes: Mapping[Split, int]) -> Split:
        """Where one more of a class goes, of which so many are in each split: to the split that lacks most.

        A split without any comes first, so that three of a class are in all three. From nothing, the sizes never differ
        from the fractions by more than one that way.
        """
        share = {Split.TRAIN: 1 - self.validation - self.test, Split.TEST: self.test, Split.VALIDATION: self.validation}
        if empty := [split for split in share if not sizes.get(split)]:
            return empty[0]
        total = sum(sizes.values()) + 1
        return max(share, key=lambda split: share[split] * total - sizes[split])


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image of a source, and what its owner says of it. Without a slice, source or date these are empty.

    `content_sha256`: of the bytes that the label is about, hex; empty: of whatever the object holds. `chance`: with
    which it came to be labelled, 1 unless it was drawn at random.
    """

    key: str
    label: str
    slice: str = ""
    source: str = ""
    date: str = ""
    content_sha256: str = ""
    chance: float = 1.0


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One labelled image: where it is, what bytes it had, what it shows. `slice` is a finer kind, or empty.

    `etag` is S3's, or what S3 would give the file in one part: the MD5 of its bytes. `perceptual_hash` is as in
    near_duplicates.py. `source` (who gave the image) and `date` (ISO 8601) are as the table says, or empty. `chance` is
    that of having been labelled, 1 unless the image was drawn at random.
    """

    key: str
    content_sha256: str
    label: str
    slice: str
    split: Split
    etag: str = ""
    perceptual_hash: str = ""
    source: str = ""
    date: str = ""
    chance: float = 1.0


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A file under `labels/` that is not in the manifest, and why. `code` is stable and short."""

    key: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """What a source holds: its labelled images, those left out before any is read, and names that are no images."""

    images: tuple[LabelledImage, ...]
    left_out: tuple[Exclusion, ...] = ()
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SplitImage:
    """An image whose split is settled, by what it takes to recognise it and its near-duplicates."""

    content_sha256: str
    perceptual_hash: str
    split: Split


@dataclass(frozen=True, slots=True)
class Manifest:
    """A snapshot. The digest covers the entries; not the location, so that data may move, nor what was left out.

    `dropped` is of images that earlier snapshots held and this one does not: models may have been trained on them.
    `hash_name` says by which perceptual hash the splits were made, `skipped` what in the source was never an image.
    """

    source: str
    fractions: SplitFractions
    entries: tuple[ManifestEntry, ...]
    excluded: tuple[Exclusion, ...] = ()
    dropped: tuple[SplitImage, ...] = ()
    hash_name: str = ""
    skipped: tuple[str, ...] = ()

    def digest(self) -> str:
        """64 hexadecimal digits: SHA-256 over the entries in the manifest's order."""
        digest = hashlib.sha256(f"manifest {_FORMAT} {json.dumps(LABELS)}\n".encode())
        for entry in self.entries:
            row = [entry.key, entry.etag, entry.content_sha256, entry.label, entry.slice, entry.split]
            row += [entry.source, entry.date]
            if entry.chance != 1:  # so that manifests of earlier releases keep their digests
                row.append(repr(entry.chance))
            digest.update(json.dumps(row).encode() + b"\n")
        return digest.hexdigest()

    def of(self, split: Split) -> list[ManifestEntry]:
        """The entries of one split, in order."""
        return [entry for entry in self.entries if entry.split is split]

    def split_images(self) -> Iterator[SplitImage]:
        """Each image, by content, whose split this or an earlier snapshot settled."""
        by_content = {entry.content_sha256: entry for entry in self.entries}
        for entry in by_content.values():
            yield SplitImage(entry.content_sha256, entry.perceptual_hash, entry.split)
        yield from self.dropped

    def sizes(self) -> Mapping[str, Mapping[str, int]]:
        """Number of images by split and label."""
        counts = Counter((entry.split, entry.label) for entry in self.entries)
        return {split: {label: counts[split, label] for label in LABELS} for split in Split}


_RENAMED = {"former": "dropped"}
"""Fields of the file by the names that they had in earlier releases."""


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write the manifest once. Rewriting the same is harmless; a different one at that path is a SettingsError."""
    if path.exists() and (found := read_manifest(path)).digest() != manifest.digest():
        raise SettingsError(
            f"{path} already holds another snapshot ({found.digest()[:12]}…); manifests never change: "
            "use a new --workdir"
        )
    document = {"format": _FORMAT, "digest": manifest.digest(), **asdict(manifest)}
    write_text(path, json.dumps(document, indent=1) + "\n", private=True)


def read_manifest(path: Path) -> Manifest:
    """The manifest in that file; raises SettingsError when there is none, ContractError when it was altered."""
    remedy = "take a new snapshot"
    try:
        values = json.loads(read_text(path, made_by="sniffer model snapshot"))
    except ValueError as error:
        raise ContractError(f"{path} is not JSON ({error}): {remedy}") from error
    # Header and manifest share one object, so each finds the fields of the other beside its own.
    header = parse_record(values, _Header, path, remedy, ignore_unknown=True)
    manifest = parse_record(values, Manifest, path, remedy, ignore_unknown=True, renamed=_RENAMED)
    if (header.format, header.digest) != (_FORMAT, manifest.digest()):
        raise ContractError(f"{path} does not match its own digest: it was altered; {remedy}")
    return manifest


@dataclass(frozen=True, slots=True)
class _Header:
    """What the file holds beside the manifest."""

    format: int
    digest: str
