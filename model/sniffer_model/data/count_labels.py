"""`python -m sniffer_model.data.count_labels`: how many labelled images are there that no snapshot has seen yet?

In: a place of labelled images, and the last snapshot. Out: one JSON line with `labelled` and `new`. Images are told by
their keys alone; nothing is read but the listing. S3 is found by the AWS_* variables.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sniffer.core.errors import SnifferError
from sniffer.core.logs import configure_logging
from sniffer.core.result import add_result_flag, write_result
from sniffer_model.data.manifest import read_manifest
from sniffer_model.data.source import ImageSource, open_source


def count_labels(source: ImageSource, lineage: Path) -> dict[str, int]:
    """Labelled images at the source, and those of them that the last snapshot does not name.

    All are new when there is no snapshot, or when it was taken of another place.
    """
    keys = {image.key for image in source.images()}
    return {"labelled": len(keys), "new": len(keys - _known(source, lineage))}


def _known(source: ImageSource, lineage: Path) -> set[str]:
    if not lineage.exists():
        return set()
    manifest = read_manifest(lineage)
    if manifest.source != source.location:
        return set()
    return {entry.key for entry in manifest.entries} | {exclusion.key for exclusion in manifest.excluded}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sniffer_model.data.count_labels", description=__doc__)
    parser.add_argument("--source", required=True, metavar="DIR|s3://BUCKET/PREFIX|TABLE", help="as of the snapshot")
    parser.add_argument("--lineage", required=True, type=Path, metavar="MANIFEST", help="as of the snapshot")
    add_result_flag(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program."""
    arguments = _parser().parse_args(argv)
    configure_logging("count_labels")
    try:
        write_result(count_labels(open_source(arguments.source), arguments.lineage), arguments.result)
    except SnifferError as error:
        print(f"count_labels: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
