"""`sniffer model count-labels`: how many labelled images has no snapshot seen yet?

In: a place of labelled images, and the last snapshot. Out: one JSON line with `labelled` and `new`. Images are
recognised by their keys; only the listing is read. S3 is found by the AWS_* variables.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from sniffer.core.label_records import LabelCounts
from sniffer.core.parser import Parser
from sniffer.core.program import Program, ProgramResult
from sniffer.core.variables import S3_ENVIRONMENT
from sniffer_model.data.manifest import read_manifest
from sniffer_model.data.source import ImageSource, open_source

log = logging.getLogger(__name__)


def count_labels(source: ImageSource, lineage: Path) -> LabelCounts:
    """Labelled images at the source, and those of them that the last snapshot does not name.

    All are new when there is no snapshot, or when it was taken of another place.
    """
    keys = {image.key for image in source.labelled().images}
    return LabelCounts(len(keys), len(keys - _known(source, lineage)))


def _known(source: ImageSource, lineage: Path) -> set[str]:
    if not lineage.exists():
        return set()
    manifest = read_manifest(lineage)
    if manifest.source != source.location:
        return set()
    return {entry.key for entry in manifest.entries} | {exclusion.key for exclusion in manifest.excluded}


def _add_arguments(parser: Parser) -> None:
    parser.add_argument("--source", required=True, metavar="DIR|s3://BUCKET/PREFIX|TABLE", help="as of the snapshot")
    parser.add_argument("--lineage", required=True, type=Path, metavar="MANIFEST", help="as of the snapshot")


def _run(arguments: argparse.Namespace) -> ProgramResult:
    source = open_source(arguments.source)
    counts = count_labels(source, arguments.lineage)
    if not counts.labelled:
        log.warning("there are no labelled images at %s", source.location)
    return ProgramResult(counts)


PROGRAM = Program(
    command="sniffer model count-labels",
    summary="Count the labelled images, and those of them that the last snapshot does not know. Reads nothing but the "
    "listing. Prints one JSON line with `labelled` and `new`.",
    run=_run,
    add_arguments=_add_arguments,
    examples=("sniffer model count-labels --source s3://labels/2026 --lineage lineage.json",),
    environment=(
        *S3_ENVIRONMENT,
        "SNIFFER_LOG_FORMAT",
    ),
    extra="trainer",
    hands_on=True,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
