"""Write labelled sample images as `DIR/labels/<class>/<slice>-<number>.<suffix>`, ready to be trained on."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sniffer.core.model_records import LABELS
from sniffer_local.samples.generate import labelled_images


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the images and print where they are; 0 when all are written, 1 when the disk refuses, 2 for wrong usage."""
    options = _parser().parse_args(argv)
    try:
        write_labelled(options.out, options.seed, options.count, options.processes)
    except OSError as error:
        print(f"cannot write the samples: {error}", file=sys.stderr)
        return 1
    print(f"{options.count} images in {options.out / 'labels'}")
    return 0


def write_labelled(out: Path, seed: int, count: int, processes: int) -> None:
    """Write the images; the same arguments write the same files over again."""
    for label in LABELS:
        (out / "labels" / label).mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(labelled_images(seed, count, processes=processes)):
        path = out / "labels" / image.label / f"{image.slice}-{number:06d}{image.suffix}"
        path.write_bytes(image.data)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sniffer_local.samples", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write below")
    parser.add_argument("--count", type=_number, required=True, metavar="N", help="images in all, half of each class")
    parser.add_argument("--seed", type=_number, default=0, help="another seed draws other images (default: 0)")
    parser.add_argument("--processes", type=_number, default=os.cpu_count() or 1, help="default: one per core")
    return parser


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 on, not {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
