"""`sniffer model snapshot`: freeze labelled images into the manifest of a training run.

In: a directory or an S3 prefix that holds `labels/<class>/<slice>-<number>.<ext>` or `<class>/…` alone, or a table of
S3 objects with columns bucket, key, label and, where there are some, slice, source and date; and the previous manifest,
whose splits are kept. Out: manifest.json in the workdir and, with --lineage, the previous manifest for the next time.
What cannot be read or decoded, or has contradictory labels, is left out and reported; where that is much, the snapshot
fails. S3 is found by the AWS_* variables.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from sniffer.adapters.images.render import decode
from sniffer.core.count_progress import StageProgress
from sniffer.core.errors import SettingsError, UnreadableImage
from sniffer.core.files import write_text
from sniffer.core.label_records import SnapshotSummary
from sniffer.core.model_records import LABELS
from sniffer.core.parser import Parser
from sniffer.core.program import Program, ProgramResult
from sniffer.core.settings import ImageSettings, image_settings
from sniffer.core.text import one_line
from sniffer_model.data.left_out import LEFT_OUT_BUDGET, check_left_out
from sniffer_model.data.manifest import (
    Exclusion,
    LabelledImage,
    Manifest,
    Split,
    SplitFractions,
    SplitImage,
    read_manifest,
    write_manifest,
)
from sniffer_model.data.near_duplicates import HASH_NAME, perceptual_hash
from sniffer_model.data.source import ImageSource, open_source
from sniffer_model.data.splitting import InspectedImage, split_images
from sniffer_model.steps import ENVIRONMENT, add_workdir
from sniffer_model.workdir import Workdir

log = logging.getLogger(__name__)

_REPORTED_EXCLUSIONS = 20
_AHEAD_OF_EACH_READER = 4
# What the gate asks of a held-out class by default. With fewer than ten images, a slice's 95 % interval is wider than
# six tenths of its whole range.
_SMALL_CLASS, _SMALL_SLICE = 100, 10

Inspection = InspectedImage | Exclusion


def take_snapshot(
    source: ImageSource,
    fractions: SplitFractions,
    limits: ImageSettings,
    previous: Manifest | None = None,
    *,
    left_out_budget: float = LEFT_OUT_BUDGET,
) -> Manifest:
    """Read and decode every labelled image once. The same images and previous manifest give the same digest.

    Raises SettingsError without labels, with one class only, with an unknown class, when a split would lack a class,
    when more than that share of the labels is lost, or when the previous manifest was split by another perceptual
    hash; TransientError when the source stays away.
    """
    settled = _settled(previous)
    labelled = source.labelled()
    inspected = list(_inspected(source, labelled.images, limits))
    unreadable = [item for item in inspected if isinstance(item, Exclusion)]
    images, repeated = _without_repeats(item for item in inspected if isinstance(item, InspectedImage))
    entries, contradicted = split_images(images, settled, fractions)
    entries.sort(key=lambda entry: entry.key)
    excluded = (*labelled.left_out, *unreadable, *repeated, *contradicted)
    check_left_out(excluded, len(labelled.left_out) + len(labelled.images), source, left_out_budget)
    present = {entry.content_sha256 for entry in entries}
    dropped = tuple(image for content, image in sorted(settled.items()) if content not in present)
    manifest = Manifest(source.location, fractions, tuple(entries), excluded, dropped, HASH_NAME, labelled.skipped)
    _check_splits(manifest)
    return manifest


def _settled(previous: Manifest | None) -> dict[str, SplitImage]:
    if previous is None:
        return {}
    if previous.hash_name != HASH_NAME:
        raise SettingsError(
            f"the previous manifest was split by {previous.hash_name!r}, this program splits by {HASH_NAME!r}: take "
            "the snapshot without --previous; its test split is then not comparable with the last one"
        )
    return {image.content_sha256: image for image in previous.split_images()}


def _inspected(source: ImageSource, images: Sequence[LabelledImage], limits: ImageSettings) -> Iterator[Inspection]:
    with StageProgress("snapshot", len(images)) as progress, ThreadPoolExecutor(source.readers) as pool:
        for found in _in_order(pool, lambda image: _inspect(source, image, limits), images, source.readers):
            progress.advance()
            yield found


def _in_order(
    pool: ThreadPoolExecutor,
    inspect: Callable[[LabelledImage], Inspection],
    images: Iterable[LabelledImage],
    readers: int,
) -> Iterator[Inspection]:
    """Inspect a bounded number of images ahead; the first that raises ends it, and what waits is not started."""
    waiting: deque[Future[Inspection]] = deque()
    try:
        for image in images:
            waiting.append(pool.submit(inspect, image))
            if len(waiting) >= _AHEAD_OF_EACH_READER * readers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _inspect(source: ImageSource, image: LabelledImage, limits: ImageSettings) -> Inspection:
    try:
        stored = source.read_stored(image.key)
        pixels = decode(stored.data, max_pixels=limits.max_pixels, max_bytes=limits.max_bytes)
    except UnreadableImage as error:
        return Exclusion(image.key, error.code, str(error))
    except FileNotFoundError as error:
        return Exclusion(image.key, "gone", str(error.strerror))
    except OSError as error:
        return Exclusion(image.key, "unreadable_file", str(error.strerror))
    content_sha256 = hashlib.sha256(stored.data).hexdigest()
    if image.content_sha256 not in ("", content_sha256):
        return Exclusion(image.key, "replaced", "it has other bytes now than those that were labelled")
    return InspectedImage(image, stored.etag, content_sha256, perceptual_hash(pixels))


def _without_repeats(images: Iterable[InspectedImage]) -> tuple[list[InspectedImage], list[Exclusion]]:
    """Of rows that give one object the same label, the first counts."""
    first: dict[tuple[str, str], InspectedImage] = {}
    repeated = []
    for image in images:
        if first.setdefault((image.labelled.key, image.labelled.label), image) is not image:
            message = "the table names it more than once, with another slice, source or date: the first row counts"
            repeated.append(Exclusion(image.labelled.key, "repeated_key", message))
    return list(first.values()), repeated


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
                    f"of {counts[label]} images of the class {label!r} none is in the {Split(split)} split: each class "
                    "needs three that are no near-duplicates of each other; add images of that class"
                )


def small_parts(manifest: Manifest) -> list[str]:
    """A sentence for each class and slice with too few images to be judged by. They are kept all the same."""
    sentences = [
        f"only {count} images of the class {label!r} in the {Split(split)} split: its figures will be rough"
        for split, sizes in manifest.sizes().items()
        for label, count in sizes.items()
        if count < _SMALL_CLASS
    ]
    slices = Counter(entry.slice for entry in manifest.entries if entry.slice)
    tested = Counter(entry.slice for entry in manifest.of(Split.TEST))
    return sentences + [
        f"only {tested[name]} of {slices[name]} images of the slice {name!r} in the test split: "
        "its own figures will say little"
        for name in sorted(slices)
        if tested[name] < _SMALL_SLICE
    ]


def _report(manifest: Manifest) -> None:
    for exclusion in manifest.excluded[:_REPORTED_EXCLUSIONS]:
        log.warning("left out %s: %s: %s", one_line(exclusion.key), exclusion.code, one_line(exclusion.message))
    if len(manifest.excluded) > _REPORTED_EXCLUSIONS:
        log.warning("… and %d more; the manifest names them all", len(manifest.excluded) - _REPORTED_EXCLUSIONS)
    if manifest.skipped:
        log.info(
            "skipped %d files that are no images, such as %s",
            len(manifest.skipped),
            ", ".join(map(one_line, manifest.skipped[:3])),
        )
    for sentence in small_parts(manifest):
        log.warning("%s", sentence)
    for split, sizes in manifest.sizes().items():
        log.info("%s: %s", split, ", ".join(f"{count} {label}" for label, count in sizes.items()))


def _summary(manifest: Manifest) -> SnapshotSummary:
    return SnapshotSummary(
        manifest_digest=manifest.digest(),
        sizes=manifest.sizes(),
        left_out=len(manifest.excluded),
        left_out_by_code=dict(sorted(Counter(exclusion.code for exclusion in manifest.excluded).items())),
        skipped=len(manifest.skipped),
        small_parts=tuple(small_parts(manifest)),
    )


def _add_arguments(parser: Parser) -> None:
    default = SplitFractions()
    parser.add_argument(
        "--source",
        required=True,
        metavar="DIR|s3://BUCKET/PREFIX|TABLE",
        help="what holds labels/<class>/… or <class>/…, or a table (a file, a folder of Spark's, or s3://…)",
    )
    add_workdir(parser, "; made if missing")
    earlier = parser.add_mutually_exclusive_group()
    earlier.add_argument(
        "--previous",
        type=Path,
        metavar="MANIFEST",
        help="the last snapshot's manifest.json: what it knows keeps its split, near-duplicates follow it",
    )
    earlier.add_argument(
        "--lineage",
        type=Path,
        metavar="MANIFEST",
        help="the same for a series: read where it exists, and replaced by this snapshot",
    )
    parser.add_argument(
        "--validation-fraction", type=float, default=default.validation, help="for early stopping and the threshold"
    )
    parser.add_argument("--test-fraction", type=float, default=default.test, help="for the final figures only")
    parser.add_argument(
        "--left-out-budget",
        type=float,
        default=LEFT_OUT_BUDGET,
        metavar="SHARE",
        help="share of the labels that may be lost, since their images are not there, unreadable or contradictory",
    )


def _run(arguments: argparse.Namespace) -> ProgramResult:
    fractions = SplitFractions(arguments.validation_fraction, arguments.test_fraction)
    budget = arguments.left_out_budget
    if not 0 <= budget <= 1:
        raise SettingsError(f"--left-out-budget must be a share from 0 to 1, not {budget:g}")
    manifest = take_snapshot(
        open_source(arguments.source), fractions, image_settings(), _previous(arguments), left_out_budget=budget
    )
    _report(manifest)
    path = Workdir(arguments.workdir).manifest
    write_manifest(manifest, path)
    if arguments.lineage:
        write_text(arguments.lineage, path.read_text(encoding="utf-8"))
    return ProgramResult(_summary(manifest))


def _previous(arguments: argparse.Namespace) -> Manifest | None:
    if arguments.lineage and arguments.lineage.exists():
        return read_manifest(arguments.lineage)
    return read_manifest(arguments.previous) if arguments.previous else None


PROGRAM = Program(
    command="sniffer model snapshot",
    summary="Read and decode every labelled image once, divide the images into training, validation and test, and "
    "write that down in WORKDIR/manifest.json. What cannot be read, or has contradictory labels, is left out and "
    "reported. Prints one JSON line with the digest, the sizes and what was left out.",
    run=_run,
    add_arguments=_add_arguments,
    examples=(
        "sniffer model snapshot --source ./images --workdir runs/1            # images/labels/drugs/…, labels/other/…",
        "sniffer model snapshot --source s3://labels/2026 --workdir runs/2 --lineage lineage.json",
        "sniffer model snapshot --source labels.csv --workdir runs/3          # columns bucket, key, label",
    ),
    environment=ENVIRONMENT,
    extra="trainer",
    hands_on=True,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
