"""`sniffer local samples`: write labelled sample images, `DIR/labels/<class>/<slice>-<number>.<suffix>`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from sniffer.core.count_progress import StageProgress
from sniffer.core.errors import TransientError
from sniffer.core.model_records import LABELS
from sniffer.core.parser import Parser, count
from sniffer.core.program import Program
from sniffer_local.samples.generate import labelled_images


def write_labelled(out: Path, seed: int, count: int, processes: int) -> None:
    """Write the images; the same arguments write the same files over again."""
    for label in LABELS:
        (out / "labels" / label).mkdir(parents=True, exist_ok=True)
    with StageProgress("samples", count) as progress:
        for number, image in enumerate(labelled_images(seed, count, processes=processes)):
            path = out / "labels" / image.label / f"{image.slice}-{number:06d}{image.suffix}"
            path.write_bytes(image.data)
            progress.advance()


def _add_arguments(parser: Parser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write below")
    parser.add_argument("--count", type=count, required=True, metavar="N", help="images in all, half of each class")
    parser.add_argument("--seed", type=count, default=0, metavar="N", help="another seed draws other images")
    parser.add_argument(
        "--processes", type=count, default=os.cpu_count() or 1, metavar="N", help="default: one for each core"
    )


def _run(arguments: argparse.Namespace) -> int:
    try:
        write_labelled(arguments.out, arguments.seed, arguments.count, arguments.processes)
    except OSError as error:
        raise TransientError(f"cannot write the samples: {error}") from error
    print(f"{arguments.count} images in {arguments.out / 'labels'}")
    return 0


PROGRAM = Program(
    command="sniffer local samples",
    summary="Draw labelled sample images, DIR/labels/<class>/<slice>-<number>.<suffix>, ready to be trained on. The "
    "same flags draw the same images.",
    run=_run,
    add_arguments=_add_arguments,
    examples=("sniffer local samples --out images --count 720",),
    extra="dev",
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
