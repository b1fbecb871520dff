"""The flags that ask for a scan, the same for scan and produce: parsed, checked, written back."""

from __future__ import annotations

import argparse
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sniffer.adapters.s3.keys import LONGEST_KEY_BYTES
from sniffer.core.errors import SettingsError
from sniffer.core.flag_records import FloodRule
from sniffer.core.flags import render_flags
from sniffer.core.key_ranges import KeyRange
from sniffer.core.parser import checked, model_version, positive
from sniffer.core.records import LONGEST_SCAN_ID, SCAN_ID_PATTERN, ScanRequest
from sniffer.core.settings import parse_utc
from sniffer.core.shard_records import ShardChoice, part_scan_id
from sniffer.core.variables import S3_ENVIRONMENT

STABLE = "stable"
PART_OF_SCAN = "--part-of-scan"
"""The flag by which `sniffer scan` starts its producer."""

_OF_THE_PLAN = (
    "bucket",
    "prefix",
    "since",
    "until",
    "late_before",
    "late_prefix",
    "after",
    "up_to",
    "limit",
    "include",
    "exclude",
    "allow_empty",
    "model_version",
    "rescan",
    "retry_failed",
    "dry_run",
    "scan_id",
    "dag_run",
)

SCAN_ENVIRONMENT = (
    "SNIFFER_DATABASE_URL",
    "SNIFFER_DATABASE_PATIENCE_S",
    "SNIFFER_SERVING_URL",
    "SNIFFER_SERVING_PATIENCE_S",
    "SNIFFER_SERVING_CONNECT_TIMEOUT_S",
    "SNIFFER_SERVING_READ_TIMEOUT_S",
    *S3_ENVIRONMENT,
    "SNIFFER_FETCH_THREADS",
    "SNIFFER_MAX_IMAGE_BYTES",
    "SNIFFER_MAX_IMAGE_PIXELS",
    "SNIFFER_DECODE_CPU_S",
    "SNIFFER_DECODE_MEMORY_BYTES",
    "SNIFFER_BATCH_SIZE",
    "SNIFFER_HELD_BYTES",
    "SNIFFER_ERROR_BUDGET",
    "SNIFFER_GONE_BUDGET",
    "SNIFFER_GONE_WARNING",
    "SNIFFER_UNREADABLE_BUDGET",
    "SNIFFER_UNREADABLE_WARNING",
    "SNIFFER_BEAT_S",
    "SNIFFER_CONSUMER_DEADLINE_S",
    "SNIFFER_PRODUCER_DEADLINE_S",
    "SNIFFER_NO_CONSUMER_S",
    "SNIFFER_NO_PROGRESS_S",
    "SNIFFER_WORK_LIMIT_S",
    "SNIFFER_SHARD_IMAGES",
    "SNIFFER_SHARD_S",
)
"""The variables that a scan depends on, whoever runs it."""


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """What was asked: the scan itself, and what to do around it. `model_version` None means the stable one.

    Of a shard of a stored plan, the request has no more than an id for the log: the rest is in the plan.
    """

    request: ScanRequest
    model_version: int | None
    dry_run: bool
    progress: Path | None
    shard: ShardChoice | None = None
    end_at: datetime | None = None
    """When the scan of a shard ends, at a key, whatever is left of it."""


def add_shard_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that name a shard of a stored plan, instead of what to scan."""
    which = parser.add_argument_group("a shard of a stored plan, instead of what and how")
    which.add_argument("--shard-of", type=scan_id, metavar="ID", help="the scan that `sniffer plan` cut into shards")
    which.add_argument("--shard", type=positive, metavar="N", help="which of its shards: what is left of it is scanned")
    which.add_argument(
        "--end-at",
        type=moment,
        metavar="TIME",
        help="hand out no image after that time (ISO 8601, UTC): the rest is a further part of the shard",
    )


def add_scan_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that describe a scan."""
    what = parser.add_argument_group("what to scan")
    what.add_argument("--bucket", help="the S3 bucket; needed")
    what.add_argument("--prefix", default="", help="only keys that start so")
    what.add_argument("--since", type=moment, metavar="TIME", help="only objects modified at or after (ISO 8601, UTC)")
    what.add_argument("--until", type=moment, metavar="TIME", help="only objects modified before (ISO 8601, UTC)")
    what.add_argument(
        "--late-before",
        type=moment,
        metavar="TIME",
        help="count as late what was modified before, and no scan has seen yet (ISO 8601, UTC)",
    )
    what.add_argument(
        "--late-prefix",
        action="append",
        type=_pattern,
        default=[],
        metavar="PREFIX",
        help="list this prefix, too, and count what no scan has seen yet as late; can be given several times",
    )
    what.add_argument("--after", type=_key, metavar="KEY", help="only keys after this one: one shard of `sniffer plan`")
    what.add_argument("--up-to", type=_key, metavar="KEY", help="only keys up to this one, and this one")
    what.add_argument(
        "--limit", type=positive, metavar="N", help="hand out at most N images; unchanged ones do not count"
    )
    what.add_argument(
        "--include",
        action="append",
        type=_pattern,
        default=[],
        metavar="PATTERN",
        help="only keys with that suffix (.jpg), or that glob (uploads/*.jp*g); can be given several times",
    )
    what.add_argument(
        "--exclude",
        action="append",
        type=_pattern,
        default=[],
        metavar="PATTERN",
        help="no keys with that suffix or glob; can be given several times. What is left out counts as skipped, and "
        "so do folder markers (keys that end in /, without bytes)",
    )
    what.add_argument(
        "--allow-empty", action="store_true", help="a scan that finds nothing to scan is a good one (default: an error)"
    )
    how = parser.add_argument_group("how to scan")
    how.add_argument(
        "--model-version", type=_version, default=None, metavar="N", help="a number, or `stable` (the default)"
    )
    which = how.add_mutually_exclusive_group()
    which.add_argument("--rescan", action="store_true", help="score again what already has a result of this version")
    which.add_argument("--retry-failed", action="store_true", help="do not list: only try again what failed before")
    how.add_argument(
        "--flood-band",
        type=_band,
        default=str(FloodRule()),
        metavar="BAND",
        help="hold the scan, for a person to decide, when its share of flagged images leaves this band: auto (what is "
        "likely after the last scans of the source, the default), off, or LOW..HIGH such as 0..0.05",
    )
    how.add_argument(
        "--flood-source",
        default="",
        metavar="TEXT",
        help="compare with earlier scans of the bucket that said the same (default: those of the same --prefix)",
    )
    how.add_argument("--dry-run", action="store_true", help="list and estimate, change nothing")
    how.add_argument("--scan-id", type=scan_id, metavar="ID", help="resume the scan of that id (default: a new one)")
    how.add_argument("--dag-run", metavar="TEXT", help="which Airflow run asked, for the record")
    how.add_argument("--progress", type=Path, metavar="FILE", help="keep the progress there as JSON while it runs")


def scan_options(arguments: argparse.Namespace) -> ScanOptions:
    """The checked options; raises SettingsError for flags that contradict each other."""
    if choice := shard_choice(arguments):
        request = ScanRequest(scan_id=part_scan_id(choice.scan_id, choice.shard, 1), bucket="")
        return ScanOptions(
            request, None, dry_run=False, progress=arguments.progress, shard=choice, end_at=arguments.end_at
        )
    if not arguments.bucket:
        raise SettingsError("--bucket is needed, for example --bucket uploads")
    if arguments.since and arguments.until and arguments.since >= arguments.until:
        raise SettingsError(
            f"--since {arguments.since.isoformat()} must be before --until {arguments.until.isoformat()}"
        )
    _check_late(arguments)
    request = ScanRequest(
        scan_id=arguments.scan_id or new_scan_id(),
        bucket=arguments.bucket,
        prefix=arguments.prefix,
        since=arguments.since,
        until=arguments.until,
        limit=arguments.limit,
        rescan=arguments.rescan,
        retry_failed=arguments.retry_failed,
        dag_run=arguments.dag_run,
        include=tuple(arguments.include),
        exclude=tuple(arguments.exclude),
        allow_empty=arguments.allow_empty,
        late_before=arguments.late_before,
        late_prefixes=tuple(arguments.late_prefix),
        key_range=_key_range(arguments),
        flood_band=arguments.flood_band,
        flood_source=arguments.flood_source,
    )
    return ScanOptions(request, arguments.model_version, arguments.dry_run, arguments.progress)


def shard_choice(arguments: argparse.Namespace) -> ShardChoice | None:
    """The shard that was named, if one was; SettingsError when other flags say what to scan as well."""
    scan, shard = getattr(arguments, "shard_of", None), getattr(arguments, "shard", None)
    if scan is None and shard is None:
        if getattr(arguments, "end_at", None) is not None:
            raise SettingsError(
                "--end-at is for a shard of a stored plan: give --shard-of and --shard, or leave it out"
            )
        return None
    if scan is None or shard is None:
        raise SettingsError("--shard-of and --shard belong together: give the scan and the number of one of its shards")
    if others := [name for name in _OF_THE_PLAN if getattr(arguments, name) not in (None, False, [], "")]:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in others)
        raise SettingsError(f"{flags}: the plan of scan {scan} says what is scanned: leave out all but its shard")
    return ShardChoice(scan, shard)


def _key_range(arguments: argparse.Namespace) -> KeyRange:
    try:
        return KeyRange(arguments.after or "", arguments.up_to)
    except ValueError as error:
        raise SettingsError(f"--after and --up-to: {error}") from error


def _check_late(arguments: argparse.Namespace) -> None:
    since, until, before = arguments.since, arguments.until, arguments.late_before
    if before and ((since and before <= since) or (until and before > until)):
        raise SettingsError(f"--late-before {before.isoformat()} must be after --since and not after --until")
    if arguments.late_prefix and arguments.retry_failed:
        raise SettingsError("--late-prefix lists a prefix, --retry-failed lists nothing: leave one of them out")
    listed = [arguments.prefix]
    for prefix in arguments.late_prefix:
        if other := [known for known in listed if prefix.startswith(known) or known.startswith(prefix)]:
            raise SettingsError(
                f"--late-prefix {prefix!r} would list keys twice, with those under {other[0]!r}: leave it out"
            )
        listed.append(prefix)


def scan_argv(options: ScanOptions) -> list[str]:
    """The flags that ask for the same scan again: the inverse of scan_options()."""
    request = options.request
    if options.shard is not None:
        return render_flags(
            {
                "shard_of": options.shard.scan_id,
                "shard": options.shard.shard,
                "end_at": options.end_at and options.end_at.isoformat(),
                "progress": options.progress,
            }
        )
    return render_flags(
        {
            "bucket": request.bucket,
            "prefix": request.prefix,
            "since": request.since and request.since.isoformat(),
            "until": request.until and request.until.isoformat(),
            "limit": request.limit,
            "include": request.include,
            "exclude": request.exclude,
            "allow_empty": request.allow_empty,
            "late_before": request.late_before and request.late_before.isoformat(),
            "late_prefix": request.late_prefixes,
            "after": request.key_range.after or None,
            "up_to": request.key_range.up_to,
            "model_version": options.model_version,
            "rescan": request.rescan,
            "retry_failed": request.retry_failed,
            "flood_band": request.flood_band,
            "flood_source": request.flood_source,
            "dry_run": options.dry_run,
            "scan_id": request.scan_id,
            "dag_run": request.dag_run,
            "progress": options.progress,
        }
    )


def output_argv(arguments: argparse.Namespace) -> list[str]:
    """The flags that say where the result and the log go, which every program of a scan has."""
    return render_flags({name: getattr(arguments, name) for name in ("result", "json", "log_format")})


def new_scan_id() -> str:
    """A scan id that sorts by time and does not repeat."""
    return f"scan-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


moment = checked(parse_utc, "a date or time like 2026-11-20 or 2026-11-20T06:00:00Z")


_band = checked(
    lambda text: str(FloodRule.parse(text)), "auto, off or LOW..HIGH, two shares from 0 to 1 such as 0..0.05"
)


def _version(text: str) -> int | None:
    return None if text == STABLE else model_version(text)


def _key(text: str) -> str:
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no UTF-8, so that no listing can begin or end there") from error
    if not 0 < size_bytes <= LONGEST_KEY_BYTES:
        raise argparse.ArgumentTypeError(f"a key has 1 to {LONGEST_KEY_BYTES} bytes, not {size_bytes}")
    return text


def _pattern(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("an empty pattern matches every key")
    return text


def scan_id(text: str) -> str:
    """The text, when it may name a scan."""
    if not SCAN_ID_PATTERN.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a scan id: letters, digits and ._:+- only, at most {LONGEST_SCAN_ID}"
        )
    return text
