"""The flags that ask for a scan, the same for scan and produce: parsed, checked, written back."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sniffer.core.errors import SettingsError
from sniffer.core.records import SCAN_ID_PATTERN, ScanRequest
from sniffer.core.settings import parse_utc

STABLE = "stable"


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """What was asked: the scan itself, and what to do around it. `model_version` None means the stable one."""

    request: ScanRequest
    model_version: int | None
    dry_run: bool
    certificate: Path | None
    progress: Path | None


def add_scan_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that describe a scan."""
    what = parser.add_argument_group("what to scan")
    what.add_argument("--bucket", required=True, help="the S3 bucket")
    what.add_argument("--prefix", default="", help="only keys that start so")
    what.add_argument("--since", type=_moment, metavar="TIME", help="only objects modified at or after (ISO 8601, UTC)")
    what.add_argument("--until", type=_moment, metavar="TIME", help="only objects modified before (ISO 8601, UTC)")
    what.add_argument(
        "--limit", type=positive, metavar="N", help="hand out at most N images; unchanged ones do not count"
    )
    how = parser.add_argument_group("how to scan")
    how.add_argument(
        "--model-version", type=_version, default=None, metavar="N", help="a number, or `stable` (the default)"
    )
    which = how.add_mutually_exclusive_group()
    which.add_argument("--rescan", action="store_true", help="score again what already has a result of this version")
    which.add_argument("--retry-failed", action="store_true", help="do not list: only try again what failed before")
    how.add_argument("--dry-run", action="store_true", help="list and estimate, change nothing")
    how.add_argument("--scan-id", type=_scan_id, metavar="ID", help="resume the scan of that id (default: a new one)")
    how.add_argument("--dag-run", metavar="TEXT", help="which Airflow run asked, for the record")
    out = parser.add_argument_group("what to write")
    out.add_argument("--certificate", type=Path, metavar="FILE", help="write the certificate there as JSON")
    out.add_argument("--progress", type=Path, metavar="FILE", help="keep the progress there as JSON while it runs")


def scan_options(flags: argparse.Namespace) -> ScanOptions:
    """The checked options; raises SettingsError for flags that contradict each other."""
    if flags.since and flags.until and flags.since >= flags.until:
        raise SettingsError(f"--since {flags.since.isoformat()} must be before --until {flags.until.isoformat()}")
    request = ScanRequest(
        scan_id=flags.scan_id or new_scan_id(),
        bucket=flags.bucket,
        prefix=flags.prefix,
        since=flags.since,
        until=flags.until,
        limit=flags.limit,
        rescan=flags.rescan,
        retry_failed=flags.retry_failed,
        dag_run=flags.dag_run,
    )
    return ScanOptions(request, flags.model_version, flags.dry_run, flags.certificate, flags.progress)


def scan_argv(options: ScanOptions) -> list[str]:
    """The flags that ask for the same scan again: the inverse of scan_options()."""
    request = options.request
    valued = {
        "--bucket": request.bucket,
        "--prefix": request.prefix,
        "--since": request.since and request.since.isoformat(),
        "--until": request.until and request.until.isoformat(),
        "--limit": request.limit,
        "--model-version": options.model_version,
        "--scan-id": request.scan_id,
        "--dag-run": request.dag_run,
        "--certificate": options.certificate,
        "--progress": options.progress,
    }
    switches = {
        "--rescan": request.rescan,
        "--retry-failed": request.retry_failed,
        "--dry-run": options.dry_run,
    }
    # One word each, so that a key that begins with a dash is not taken for a flag.
    argv = [f"{flag}={value}" for flag, value in valued.items() if value is not None]
    return argv + [flag for flag, wanted in switches.items() if wanted]


def new_scan_id() -> str:
    """A scan id that sorts by time and does not repeat."""
    return f"scan-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def _checked(parse: Callable[[str], object], text: str, expected: str) -> object:
    try:
        return parse(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}") from None


def _moment(text: str) -> object:
    return _checked(parse_utc, text, "a date or time like 2026-11-20 or 2026-11-20T06:00:00Z")


def positive(text: str) -> object:
    """A flag's value as a whole number above 0."""
    return _checked(_above_zero, text, "a whole number above 0")


def _above_zero(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _version(text: str) -> object:
    return None if text == STABLE else _checked(_above_zero, text, "a model version: a number, or `stable`")


def _scan_id(text: str) -> str:
    if not SCAN_ID_PATTERN.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a scan id: letters, digits and ._:+- only, at most 120")
    return text


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse, so that a usage error is one line and a pointer to --help instead of the whole usage."""
    parser.usage = f"{parser.prog} [flags]   (see --help)"
    return parser.parse_args(argv)
