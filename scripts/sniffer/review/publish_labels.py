"""`sniffer labels publish`: decisions become the table of labels that `sniffer model snapshot` reads."""

from __future__ import annotations

import argparse
import hashlib
import itertools
import logging
import sys
import tempfile
from collections import Counter
from pathlib import Path

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.s3.locations import S3_SCHEME, open_bucket, split_s3
from sniffer.core.errors import SettingsError
from sniffer.core.files import check_writable, write_text
from sniffer.core.model_records import LABELS
from sniffer.core.parser import Parser
from sniffer.core.program import Program, ProgramResult
from sniffer.core.published_labels import PublishedLabels
from sniffer.core.settings import FetchSettings, database_settings, fetch_settings
from sniffer.core.text import one_line
from sniffer.core.variables import S3_ENVIRONMENT
from sniffer.review.deciding import DecidedLabel, DecidedLabels, LabelConflict, labels_of
from sniffer.review.spreadsheets import csv_text

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
)
"""The first seven are what a snapshot reads; the others say where a label comes from."""
SOURCE = "review"
_SUFFIX = ".csv"
_SHOWN = 20


def label_table(labels: DecidedLabels) -> str:
    """The labels as CSV, a row for each object; the same decisions give the same bytes.

    Keys are as they are, also those that a spreadsheet would take for a formula: a snapshot has to find the object.
    """
    return csv_text(LABEL_COLUMNS, (_row(each) for each in labels.labels), is_safe=False)


def _row(each: DecidedLabel) -> list[str]:
    row = each.image.row
    return [
        each.image.bucket,
        each.image.key,
        each.label,
        row.reason or "",
        SOURCE,
        row.decided_at.date().isoformat(),
        row.content_hash.hex() if row.content_hash else "",
        " ".join(map(str, each.numbers)),
        str(row.image_id),
        str(row.model_version),
        "" if row.score is None else repr(row.score),
        row.entered_by,
        repr(row.probability),
    ]


def write_table(text: str, location: str, fetch: FetchSettings, *, is_empty: bool = False) -> None:
    """Replace the table at that location, a path or `s3://bucket/key`, as a whole: nobody ever reads half of one.

    SettingsError where a table without labels would replace one that has some.
    """
    if not location.startswith(S3_SCHEME):
        path = Path(location)
        if is_empty and path.exists():
            _refuse_emptying(location, path.stat().st_size, text)
        write_text(path, text)
        return
    name, key = split_s3(location)
    bucket = open_bucket(name, fetch, len(text))
    if is_empty:
        for there in (listed for page in bucket.pages(key) for listed in page if listed.key == key):
            _refuse_emptying(location, there.size_bytes, text)
    with tempfile.NamedTemporaryFile() as file:
        file.write(text.encode())
        file.flush()
        bucket.upload(Path(file.name), key)


def _refuse_emptying(location: str, size_bytes: int, text: str) -> None:
    """What a database that was set up anew, or another one, would do to the labels of the next training."""
    if size_bytes > len(text.encode()):
        raise SettingsError(
            f"no decision counts, and {one_line(location)} has labels: is SNIFFER_DATABASE_URL the reviewers' "
            "database? If that table is to be emptied, delete it, then run again"
        )


def _summary(labels: DecidedLabels, location: str, text: str) -> PublishedLabels:
    counts = Counter(each.label for each in labels.labels)
    return PublishedLabels(
        location=location,
        labels={label: counts[label] for label in LABELS},
        left_out={"conflict": len(labels.conflicts), "open": labels.open, "replaced": labels.replaced},
        conflicts=tuple(map(_conflict, labels.conflicts[:_SHOWN])),
        digest=hashlib.sha256(text.encode()).hexdigest(),
    )


def _conflict(each: LabelConflict) -> str:
    numbers = ", ".join(map(str, each.numbers))
    return f"{one_line(' and '.join(each.where), 200)} (decisions {numbers})"


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
        labels = labels_of(itertools.chain.from_iterable(database.review_decisions.live_pages()))
    text = label_table(labels)
    write_table(text, location, fetch_settings(), is_empty=not labels.labels)
    summary = _summary(labels, location, text)
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
