"""The flags of a scan: written back they ask for the same again, and wrong ones are one clear line."""

from __future__ import annotations

import os

import pytest

from sniffer.core.errors import SettingsError
from sniffer.core.parser import Parser
from sniffer.core.settings import default_consumers
from sniffer.scan.request import ScanOptions, add_scan_flags, add_shard_flags, scan_argv, scan_options


def options(*argv: str) -> ScanOptions:
    parser = Parser("sniffer scan")
    add_scan_flags(parser)
    add_shard_flags(parser)
    return scan_options(parser.parse_args(argv))


@pytest.mark.parametrize(
    "argv",
    [
        ["--bucket", "b"],
        ["--bucket", "b", "--prefix=--odd 😀/", "--since", "2026-11-20", "--until", "2026-11-21T06:00:00+02:00"],
        ["--bucket", "b", "--model-version", "7", "--limit", "5", "--rescan", "--dag-run", "manual__x"],
        ["--bucket", "b", "--model-version", "stable", "--retry-failed", "--dry-run"],
        ["--bucket", "b", "--include", ".jpg", "--include=-*.png", "--exclude", "thumbs/*", "--allow-empty"],
        ["--bucket", "b", "--late-before", "2026-11-20", "--prefix=c/", "--late-prefix", "a/", "--late-prefix=b/"],
        ["--bucket", "b", "--after=--odd 😀/", "--up-to", "ü"],
        ["--bucket", "b", "--up-to=-", "--limit", "5"],
        ["--shard-of", "archive", "--shard", "7", "--progress", "p.json"],
        ["--bucket", "b", "--scan-id", "scan_bucket.2026-11-20T00:00:00+00:00", "--progress", "p.json"],
    ],
)
def test_written_back_the_flags_ask_for_the_same(argv: list[str]) -> None:
    asked = options(*argv)
    assert options(*scan_argv(asked)) == asked


def test_times_without_an_offset_are_utc() -> None:
    assert (
        options("--bucket", "b", "--since", "2026-11-20").request.since
        == options("--bucket", "b", "--since", "2026-11-20T01:00:00+01:00").request.since
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--bucket", "b", "--since", "yesterday"], "'yesterday' is not a date"),
        (["--bucket", "b", "--limit", "0"], "'0' is not a whole number above 0"),
        (["--bucket", "b", "--model-version", "latest"], "'latest' is not a model version"),
        (["--bucket", "b", "--rescan", "--retry-failed"], "not allowed with"),
        (["--bucket", "b", "--exclude", ""], "an empty pattern matches every key"),
        (["--bucket", "b", "--after", ""], "a key has 1 to 1024 bytes, not 0"),
        (["--bucket", "b", "--up-to", "é" * 513], "a key has 1 to 1024 bytes, not 1026"),
        (["--bucket", "b", "--up-to", "a\udcff"], "is no UTF-8"),
        (["--bucket", "b", "--scan-id", "a b"], "'a b' is not a scan id"),
    ],
)
def test_wrong_flags_end_with_status_2_and_their_name(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        options(*argv)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "--bucket is needed"),
        (["--shard=1"], "--shard-of and --shard belong together"),
        (["--shard-of=archive"], "--shard-of and --shard belong together"),
        (["--shard-of=archive", "--shard=1", "--rescan", "--prefix=p"], "--prefix, --rescan: the plan of scan archive"),
    ],
)
def test_a_bucket_or_a_shard_is_needed_and_a_shard_is_named_by_its_plan_alone(argv: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        options(*argv)


def test_a_window_must_not_be_empty() -> None:
    with pytest.raises(SettingsError, match="must be before"):
        options("--bucket", "b", "--since", "2026-11-21", "--until", "2026-11-21")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--prefix=b/", "--late-prefix=b/1/"], "--late-prefix 'b/1/' would list keys twice, with those under 'b/'"),
        (["--prefix=c/", "--late-prefix=b/", "--late-prefix=b/"], "would list keys twice, with those under 'b/'"),
        (["--late-prefix=b/"], "would list keys twice, with those under ''"),
        (["--prefix=c/", "--late-prefix=b/", "--retry-failed"], "--retry-failed lists nothing"),
        (["--since=2026-11-20", "--late-before=2026-11-20"], "--late-before 2026-11-20.* must be after --since"),
        (["--until=2026-11-20", "--late-before=2026-11-21"], "not after --until"),
    ],
)
def test_looking_back_where_it_makes_no_sense_is_refused(argv: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        options("--bucket", "b", *argv)


def test_the_number_of_consumers_is_the_flags_the_variables_or_the_machines() -> None:
    assert default_consumers({"SNIFFER_CONSUMERS": "4"}) == 4
    assert default_consumers({}) == len(os.sched_getaffinity(0)) + 1
    for wrong in ("0", "many"):
        with pytest.raises(SettingsError, match="SNIFFER_CONSUMERS"):
            default_consumers({"SNIFFER_CONSUMERS": wrong})


@pytest.mark.parametrize("up_to", ["b", "a"])
def test_a_range_of_keys_must_not_be_empty(up_to: str) -> None:
    with pytest.raises(SettingsError, match=f"--after and --up-to: no key is after 'b' and up to '{up_to}'"):
        options("--bucket", "b", "--after", "b", "--up-to", up_to)
