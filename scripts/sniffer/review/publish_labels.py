"""`sniffer labels publish`: decisions become the table of labels that `sniffer model snapshot` reads."""

from __future__ import annotations

import argparse
import hashlib
import itertools
import logging
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.s3.locations import S3_SCHEME, open_bucket, split_s3
from sniffer.core.errors import SettingsError
from sniffer.core.files import check_writable, replacing
from sniffer.core.kept_images import KeptImage
from sniffer.core.model_records import LABELS
from sniffer.core.parser import Parser
from sniffer.core.program import Program, ProgramResult
from sniffer.core.published_labels import PublishedLabels
from sniffer.core.review_records import DecidedImage
from sniffer.core.settings import FetchSettings, database_settings, fetch_settings
from sniffer.core.text import one_line
from sniffer.core.variables import S3_ENVIRONMENT
from sniffer.review.deciding import DecidedLabel, DecidedLabels, LabelConflict, decided_labels
from sniffer.review.spreadsheets import csv_lines

log = logging.getLogger(__name__)

LABEL_COLUMNS = (
    "bucket",
    "key",
    "label",
    "slice",
    "source",
    "date",
    "content_sha256",
    "decisions",
    "image_id",
    "model_version",
    "score",
    "entered_by",
    "probability",
    "version_id",
    "original_bucket",
    "original_key",
)
"""The first seven are what a snapshot reads; the others say where a label comes from, the last three of a copy."""
SOURCE = "review"
_SUFFIX = ".csv"
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class WrittenTable:
    """A table of labels in a file: its rows by label, its size and its SHA-256, hex."""

    counts: Mapping[str, int]
    size_bytes: int
    digest: str


def write_labels(labels: Iterable[DecidedLabel], file: IO[bytes]) -> WrittenTable:
    """The labels as CSV (UTF-8), a row for each; the same labels in the same order give the same bytes.

    Keys are as they are, also those that a spreadsheet would take for a formula: a snapshot has to find the object.
    """
    counts: Counter[str] = Counter()
    digest, size = hashlib.sha256(), 0
    rows = itertools.chain((list(LABEL_COLUMNS),), (_row(each) for each in _counting(labels, counts)))
    for line in csv_lines(rows):
        data = line.encode()
        digest.update(data)
        size += file.write(data)
    return WrittenTable({label: counts[label] for label in LABELS}, size, digest.hexdigest())


def _counting(labels: Iterable[DecidedLabel], counts: Counter[str]) -> Iterator[DecidedLabel]:
    for each in labels:
        counts[each.label] += 1
        yield each


def _row(each: DecidedLabel) -> list[str]:
    row, kept = each.row, each.kept
    return [
        kept.bucket if kept else each.bucket,
        kept.key if kept else each.key,
        each.label,
        row.reason,
        SOURCE,
        row.decided_on,
        row.content_hash.hex() if row.content_hash else "",
        " ".join(map(str, each.numbers)),
        str(row.image_id),
        str(row.model_version),
        "" if row.score is None else repr(row.score),
        row.entered_by,
        repr(row.probability),
        kept.version_id if kept else "",
        each.bucket if kept else "",
        each.key if kept else "",
    ]


def replace_table(path: Path, table: WrittenTable, location: str, fetch: FetchSettings) -> None:
    """Replace what is at that location, a path or `s3://bucket/key`, by the file, as a whole: nobody reads half of one.

    SettingsError where a table without labels would replace one that has some.
    """
    is_empty = not any(table.counts.values())
    if not location.startswith(S3_SCHEME):
        target = Path(location)
        if is_empty and target.exists():
            _refuse_emptying(location, target.stat().st_size, table)
        try:
            with path.open("rb") as source, replacing(target) as file:
                shutil.copyfileobj(source, file)
        except OSError as error:
            raise SettingsError(f"cannot write {target}: {error.strerror}") from error
        return
    name, key = split_s3(location)
    bucket = open_bucket(name, fetch, table.size_bytes)
    if is_empty:
        for there in (listed for page in bucket.pages(key) for listed in page if listed.key == key):
            _refuse_emptying(location, there.size_bytes, table)
    bucket.upload(path, key)


def _refuse_emptying(location: str, size_bytes: int, table: WrittenTable) -> None:
    """What a database that was set up anew, or another one, would do to the labels of the next training."""
    if size_bytes > table.size_bytes:
        raise SettingsError(
            f"no decision counts, and {one_line(location)} has labels: is SNIFFER_DATABASE_URL the reviewers' "
            "database? If that table is to be emptied, delete it, then run again"
        )


def _summary(labels: DecidedLabels, location: str, table: WrittenTable) -> PublishedLabels:
    return PublishedLabels(
        location=location,
        labels=table.counts,
        left_out={"conflict": labels.conflict_count, "open": labels.open_count, "replaced": labels.replaced_count},
        conflicts=tuple(map(_conflict, labels.conflicts(_SHOWN))),
        digest=table.digest,
    )


def _conflict(each: LabelConflict) -> str:
    numbers = ", ".join(map(str, each.numbers))
    return f"{one_line(' and '.join(each.where), 200)} (decisions {numbers})"


def publish(
    decided: Iterable[DecidedImage], kept: Iterable[KeptImage], location: str, fetch: FetchSettings
) -> PublishedLabels:
    """Replace the table at that location by what these live decisions and copies say; see replace_table()."""
    with decided_labels(decided, kept) as labels, tempfile.NamedTemporaryFile() as file:
        table = write_labels(labels.labels(), file)
        file.flush()
        replace_table(Path(file.name), table, location, fetch)
        return _summary(labels, location, table)


def _add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "--to",
        required=True,
        metavar="FILE|s3://BUCKET/KEY",
        help="the table that is replaced; its name ends in .csv. In a folder it is part-review.csv, beside other parts",
    )


def _run(arguments: argparse.Namespace) -> ProgramResult:
    location: str = arguments.to
    if not location.lower().endswith(_SUFFIX):
        raise SettingsError(f"--to must end in {_SUFFIX}, by which a snapshot knows a table: not {one_line(location)}")
    if not location.startswith(S3_SCHEME):
        check_writable(Path(location))
    with Database(database_settings()) as database:
        database.check()
        decided = itertools.chain.from_iterable(database.review_decisions.live_pages())
        kept = itertools.chain.from_iterable(database.kept_images.pages())
        summary = publish(decided, kept, location, fetch_settings())
    for conflict in summary.conflicts:
        log.warning("the same bytes were decided both ways, a lead has to settle it: %s", conflict)
    return ProgramResult(summary, _told(summary))


def _told(summary: PublishedLabels) -> str:
    labels = ", ".join(f"{count:,} {label}" for label, count in summary.labels.items())
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in summary.left_out.items())
    return f"{one_line(summary.location)} has {labels}; left out: {left_out}"


PROGRAM = Program(
    command="sniffer labels publish",
    summary="Write what reviewers have decided as a table of labels, which `sniffer model snapshot --source` reads: a "
    "row for each object that still has the bytes that were decided. The table is replaced as a whole, so a decision "
    "that was corrected or taken back is in the next one. What reviewers disagree on, or are not sure of, is left out "
    "until a lead settles it, and so are the same bytes that were decided both ways.",
    run=_run,
    add_arguments=_add_arguments,
    examples=(
        "sniffer labels publish --to labels.csv",
        "sniffer labels publish --to s3://my-labels/2026/part-review.csv   # beside part-own.csv: --source …/part-*",
    ),
    environment=("SNIFFER_DATABASE_URL", "SNIFFER_DATABASE_PATIENCE_S", *S3_ENVIRONMENT, "SNIFFER_LOG_FORMAT"),
    hands_on=True,
    has_text=True,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
