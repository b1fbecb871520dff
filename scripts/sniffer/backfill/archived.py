"""`sniffer archived`: the objects that no scan could read since they lie in an archive, as a list for their restore."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.s3.errors import InaccessibleCode
from sniffer.core.errors import SettingsError
from sniffer.core.estimate_words import in_bytes
from sniffer.core.files import replacing
from sniffer.core.model_records import ModelRecord
from sniffer.core.parser import Parser, checked, model_version
from sniffer.core.program import Program, ProgramResult
from sniffer.core.settings import database_settings
from sniffer.core.text import printable
from sniffer.scan.preflight import resolve_model


@dataclass(frozen=True, slots=True)
class ArchivedObjects:
    """How many objects of a bucket lay in an archive when they were last asked for."""

    bucket: str
    prefix: str
    model_version: int
    objects: int
    size_bytes: int
    manifest: str | None


def write_manifest(database: Database, bucket: str, prefix: str, model: ModelRecord, path: Path) -> tuple[int, int]:
    """Write `bucket,key` lines as S3 Batch Operations takes them, keys percent-encoded; objects and bytes.

    SettingsError when the file cannot be written.
    """
    objects = size_bytes = 0
    try:
        with replacing(path) as file:
            for page in database.images.inaccessible_objects(bucket, prefix, model.version, InaccessibleCode.ARCHIVED):
                for one in page:
                    file.write(f"{one.bucket},{quote(one.key)}\n".encode())
                    objects, size_bytes = objects + 1, size_bytes + one.size_bytes
    except OSError as error:
        raise SettingsError(f"--manifest: {path} cannot be written ({error}): give another file") from error
    return objects, size_bytes


def _bucket(text: str) -> str:
    if not text or "/" in text:
        raise ValueError(text)
    return text


def _add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "--bucket", type=checked(_bucket, "the name of a bucket, without s3:// and /"), required=True, help="the bucket"
    )
    parser.add_argument("--prefix", default="", help="only keys that start so")
    parser.add_argument(
        "--model-version",
        type=model_version,
        metavar="N",
        help="whose scans have asked for them (default: the stable version's)",
    )
    parser.add_argument(
        "--manifest",
        type=Path,
        required=True,
        metavar="FILE",
        help="write bucket and key there, a line for each object: a manifest of S3 Batch Operations",
    )


def _run(arguments: argparse.Namespace) -> ProgramResult:
    with Database(database_settings()) as database:
        database.check()
        model = resolve_model(database, arguments.model_version)
        objects, size_bytes = write_manifest(database, arguments.bucket, arguments.prefix, model, arguments.manifest)
    record = ArchivedObjects(
        arguments.bucket, arguments.prefix, model.version, objects, size_bytes, str(arguments.manifest)
    )
    text = (
        f"{objects:,} archived objects, {in_bytes(size_bytes)}, under s3://{record.bucket}/{printable(record.prefix)}: "
        f"written to {arguments.manifest}. Scan again once they are restored"
    )
    return ProgramResult(record, text)


PROGRAM = Program(
    command="sniffer archived",
    summary="List the objects of a bucket that lie in an archive (GLACIER, DEEP_ARCHIVE, an archive tier), as scans by "
    "a model version have found them: a manifest for S3 Batch Operations, to restore them or to move them to another "
    "storage class. The next scan after that scores them. It asks MySQL only.",
    run=_run,
    add_arguments=_add_arguments,
    examples=("sniffer archived --bucket archive --prefix 2019/ --manifest restore.csv",),
    environment=("SNIFFER_DATABASE_URL", "SNIFFER_DATABASE_PATIENCE_S", "SNIFFER_LOG_FORMAT"),
    hands_on=True,
    has_text=True,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
