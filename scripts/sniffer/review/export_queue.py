"""`sniffer review export`: what waits, for another program to decide."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.s3.locations import bucket_of
from sniffer.core.errors import SettingsError
from sniffer.core.files import check_writable, write_text
from sniffer.core.parser import Parser, positive
from sniffer.core.program import Program, ProgramResult
from sniffer.core.review_records import QueueFilter, QueueItem, QueueKey
from sniffer.core.settings import FetchSettings, database_settings
from sniffer.core.variables import S3_ENVIRONMENT
from sniffer.review.exports import LABELING_CONFIG, ExportFormat, as_coop, as_csv, as_label_studio

_PAGE = 500
_NOBODY = ""
_LONGEST_LINK_DAYS = 7


@dataclass(frozen=True, slots=True)
class ExportedQueue:
    """How many images were written, and where to; `files` has several where a program takes so many at once."""

    images: int
    files: tuple[str, ...]


def waiting_images(database: Database, asked: QueueFilter, most: int) -> list[QueueItem]:
    """The first images that wait and that nobody holds, in the order of the queue; they stay in it."""
    found: list[QueueItem] = []
    after: QueueKey | None = None
    while len(found) < most:
        page = database.review_queue.page(asked, _NOBODY, min(_PAGE, most - len(found)), after)
        found += page.items
        after = page.after
        if after is None:
            break
    return found


def _add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "--format", choices=list(ExportFormat), default=ExportFormat.CSV, help="for which program it is written"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file that is written")
    parser.add_argument("--limit", type=positive, default=1000, metavar="N", help="at most so many images")
    parser.add_argument("--bucket", metavar="NAME", help="only of that bucket")
    parser.add_argument("--prefix", default="", metavar="TEXT", help="only keys that start with it")
    parser.add_argument(
        "--with-scores",
        action="store_true",
        help="of label-studio: add the model's score as a prediction; who sees it can tell random samples from flags",
    )
    parser.add_argument("--coop-type", metavar="ID", help="of coop: the id of the item type that you made there")
    parser.add_argument(
        "--link-days",
        type=positive,
        default=_LONGEST_LINK_DAYS,
        metavar="DAYS",
        help=f"of coop: how long the links to the images are valid, at most {_LONGEST_LINK_DAYS}",
    )


def _run(arguments: argparse.Namespace) -> ProgramResult:
    kind = ExportFormat(arguments.format)
    if kind is ExportFormat.COOP and not arguments.coop_type:
        raise SettingsError("--format coop needs --coop-type, the id of your item type")
    if arguments.link_days > _LONGEST_LINK_DAYS:
        raise SettingsError(f"--link-days: S3 signs no link for more than {_LONGEST_LINK_DAYS} days")
    check_writable(arguments.out)
    with Database(database_settings()) as database:
        database.check()
        database.review_queue.refresh()
        asked = QueueFilter(bucket=arguments.bucket, prefix=arguments.prefix)
        items = waiting_images(database, asked, arguments.limit)
    texts = {arguments.out: ""}
    if kind is ExportFormat.CSV:
        texts = {arguments.out: as_csv(items)}
    elif kind is ExportFormat.LABEL_STUDIO:
        texts = {
            arguments.out: as_label_studio(items, with_scores=arguments.with_scores),
            arguments.out.with_suffix(".xml"): LABELING_CONFIG,
        }
    else:
        bodies = as_coop(items, arguments.coop_type, _links(items, arguments.link_days))
        texts = {_numbered(arguments.out, number): body for number, body in enumerate(bodies)}
    for path, text in texts.items():
        write_text(path, text, private=True)
    exported = ExportedQueue(len(items), tuple(str(path) for path in texts))
    return ProgramResult(exported, f"{len(items):,} images are in {', '.join(exported.files) or 'no file'}")


def _numbered(path: Path, number: int) -> Path:
    return path if number == 0 else path.with_stem(f"{path.stem}-{number + 1}")


def _links(items: list[QueueItem], days: int) -> list[str]:
    buckets = {name: bucket_of(name, FetchSettings(), 1) for name in sorted({item.bucket for item in items})}
    return [buckets[item.bucket].link(item.key, days * 24 * 3600) for item in items]


PROGRAM = Program(
    command="sniffer review export",
    summary="Write what waits in the review queue for another program: a CSV to be filled in, tasks of Label Studio "
    "(beside them, as FILE.xml, the labelling interface), or items of ROOST's Coop, as bodies for its API with links "
    "to the images. The images stay in the queue until a decision comes back, by `sniffer review import` or the "
    "webhook of the review page.",
    run=_run,
    add_arguments=_add_arguments,
    examples=(
        "sniffer review export --out queue.csv",
        "sniffer review export --format label-studio --bucket uploads --out tasks.json",
        "sniffer review export --format coop --coop-type 8c31 --link-days 3 --out items.json",
    ),
    environment=("SNIFFER_DATABASE_URL", "SNIFFER_DATABASE_PATIENCE_S", *S3_ENVIRONMENT, "SNIFFER_LOG_FORMAT"),
    extra="fleet",
    hands_on=True,
    has_text=True,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
