"""`python -m sniffer_model.snapshot`: freeze labelled images into the manifest of a training run.

In: files `labels/<class>/<slice>-<number>.<ext>` of a source. Out: manifest.json in the workdir.
A file that cannot be decoded, or whose bytes stand under two classes, is left out and reported.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from sniffer.contracts import LABELS, SettingsError, SnifferError, UnreadableImage
from sniffer.images import decode
from sniffer.logs import configure_logging
from sniffer.settings import ImageSettings, image_settings
from sniffer_model.manifest import Exclusion, Manifest, ManifestEntry, Split, SplitFractions, write_manifest
from sniffer_model.source import LABELS_FOLDER, ImageSource, open_source
from sniffer_model.workdir import Workdir

log = logging.getLogger(__name__)

_REPORTED_EXCLUSIONS = 20


def take_snapshot(source: ImageSource, fractions: SplitFractions, limits: ImageSettings) -> Manifest:
    """Read and decode every labelled image once. The same files give the same manifest, digest included.

    Raises SettingsError without labels, with one class only, with an unknown class, or when a split would lack a
    class.
    """
    keys = list(source.keys())
    _check_classes(source, keys)

    def inspect(key: str) -> ManifestEntry | Exclusion:
        return _inspected(source, key, fractions, limits)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(inspect, keys))
    entries = [item for item in found if isinstance(item, ManifestEntry)]
    unreadable = [item for item in found if isinstance(item, Exclusion)]
    kept, conflicts = _without_conflicts(entries)
    manifest = Manifest(source.location, fractions, tuple(kept), (*unreadable, *conflicts))
    _check_splits(manifest)
    return manifest


def _inspected(
    source: ImageSource, key: str, fractions: SplitFractions, limits: ImageSettings
) -> ManifestEntry | Exclusion:
    try:
        data = source.read(key)
        decode(data, max_pixels=limits.max_pixels, max_bytes=limits.max_bytes)
    except UnreadableImage as error:
        return Exclusion(key, error.code, str(error))
    except OSError as error:
        return Exclusion(key, "unreadable_file", str(error.strerror))
    content_sha256 = hashlib.sha256(data).hexdigest()
    return ManifestEntry(key, content_sha256, _label(key), _slice(key), fractions.split_of(content_sha256))


def _label(key: str) -> str:
    return PurePosixPath(key).parts[1]


def _slice(key: str) -> str:
    """`blister-pack-0012.jpg` is of the slice `blister-pack`; a name without a number at its end has none."""
    match = re.fullmatch(r"(.+?)-\d+", PurePosixPath(key).stem)
    return match[1] if match else ""


def _check_classes(source: ImageSource, keys: Sequence[str]) -> None:
    wanted = " and ".join(f"{LABELS_FOLDER}/{label}/" for label in LABELS)
    if not keys:
        raise SettingsError(f"there are no labelled images in {source.location}: put some under {wanted}")
    loose = [key for key in keys if len(PurePosixPath(key).parts) < 3]
    if loose:
        raise SettingsError(f"{loose[0]} in {source.location} belongs to no class: put it under {wanted}")
    unknown = sorted({_label(key) for key in keys} - set(LABELS))
    if unknown:
        raise SettingsError(
            f"{LABELS_FOLDER}/{unknown[0]}/ in {source.location} is not a class of this model: images go under {wanted}"
        )


def _without_conflicts(entries: Iterable[ManifestEntry]) -> tuple[list[ManifestEntry], list[Exclusion]]:
    """Leave out bytes that stand under two classes: nobody knows which of the labels is right."""
    by_content: dict[str, list[ManifestEntry]] = defaultdict(list)
    for entry in entries:
        by_content[entry.content_sha256].append(entry)
    kept, conflicts = [], []
    for copies in by_content.values():
        if len({entry.label for entry in copies}) == 1:
            kept += copies
        else:
            others = ", ".join(entry.key for entry in copies)
            conflicts += [Exclusion(e.key, "conflicting_label", f"the same bytes as {others}") for e in copies]
    return sorted(kept, key=lambda entry: entry.key), conflicts


def _check_splits(manifest: Manifest) -> None:
    counts = {label: sum(entry.label == label for entry in manifest.entries) for label in LABELS}
    for label, count in counts.items():
        if not count:
            reason = f" ({len(manifest.excluded)} files were left out)" if manifest.excluded else ""
            raise SettingsError(
                f"{manifest.source} holds no usable image of the class {label!r}{reason}; a classifier needs "
                f"images of both: {' and '.join(LABELS)}"
            )
    for split, sizes in manifest.sizes().items():
        for label in LABELS:
            if not sizes[label]:
                raise SettingsError(
                    f"of {counts[label]} images of the class {label!r} none fell into the {Split(split)} split: "
                    "add images of that class, or enlarge the held-out fractions"
                )


def _report(manifest: Manifest) -> None:
    for exclusion in manifest.excluded[:_REPORTED_EXCLUSIONS]:
        log.warning("left out %s: %s: %s", exclusion.key, exclusion.code, exclusion.message)
    if len(manifest.excluded) > _REPORTED_EXCLUSIONS:
        log.warning("… and %d more; the manifest names them all", len(manifest.excluded) - _REPORTED_EXCLUSIONS)
    for split, sizes in manifest.sizes().items():
        log.info("%s: %s", split, ", ".join(f"{count} {label}" for label, count in sizes.items()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sniffer_model.snapshot", description=__doc__)
    default = SplitFractions()
    parser.add_argument("--source", required=True, metavar="DIR", help="directory that holds labels/<class>/…")
    parser.add_argument("--workdir", required=True, type=Path, help="folder of this training run; made if missing")
    parser.add_argument(
        "--validation-fraction", type=float, default=default.validation, help="for early stopping and the threshold"
    )
    parser.add_argument("--test-fraction", type=float, default=default.test, help="for the final figures only")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program: log what was found, print one JSON line with the digest and the sizes."""
    arguments = _parser().parse_args(argv)
    configure_logging("snapshot")
    try:
        fractions = SplitFractions(arguments.validation_fraction, arguments.test_fraction)
        manifest = take_snapshot(open_source(arguments.source), fractions, image_settings())
        _report(manifest)
        write_manifest(manifest, Workdir(arguments.workdir).manifest)
    except SnifferError as error:
        print(f"snapshot: {error}", file=sys.stderr)
        return error.exit_status
    sizes = manifest.sizes()
    print(json.dumps({"manifest_digest": manifest.digest(), "sizes": sizes, "left_out": len(manifest.excluded)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
