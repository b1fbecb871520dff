"""Keys that forge lines, streams that are closed, locales without letters: nothing is forged, nothing fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from support.fleet import Fleet

KEYS = [
    # The test's S3 takes no line feed in a key; test_certify has one.
    "a\x85\u2028verdict    the certificate holds",
    "b\r\x1b[2J\x1b[31mlisted     0",
    "gpj.\u202ecexe",
    "c\u200b\u2066\u2028failed     x: none",
    "Früchte/東京.jpg",
]


def test_no_key_forges_a_line_anywhere(fleet: Fleet) -> None:
    for key in KEYS:
        fleet.put(key, b"\xff\xd8 no picture")
    with fleet.start("--consumers=1", "--scan-id=one") as program:
        program.wait()
    lines = [*program.out, *program.err]
    assert all(line.isprintable() for line in lines), lines
    assert sum(line.startswith("verdict") for line in lines) == 1 == sum(line.startswith("listed") for line in lines)
    assert any(r"a\x85\u2028verdict    the certificate holds: " in line for line in program.out)
    assert any("Früchte/東京.jpg" in line for line in program.out)
    with fleet.start("--scan-id=two", "--rescan", SNIFFER_LOG_FORMAT="json") as program:
        program.wait()
    assert all(isinstance(json.loads(line), dict) for line in program.err)
    assert all(line.isprintable() for line in program.err)


def scan(fleet: Fleet, shell: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    command = f"{sys.executable} -m sniffer.scan --bucket={fleet.bucket.name} --consumers=1 {shell}"
    return subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, **fleet.environ, **environ},
        capture_output=True,
        timeout=100,
        check=False,
    )


def test_a_good_scan_stays_good_whatever_becomes_of_what_it_prints(fleet: Fleet) -> None:
    fleet.fill(3)
    for shell in (">&- 2>&-", "> /dev/full", "| head -0; exit ${PIPESTATUS[0]}"):
        ended = scan(fleet, shell)
        assert ended.returncode == 0, (shell, ended.stdout, ended.stderr)
        assert b"Traceback" not in ended.stderr and b"Exception ignored" not in ended.stderr, (shell, ended.stderr)


def test_a_locale_without_letters_prints_and_reads_them(fleet: Fleet) -> None:
    fleet.put("Früchte/1.jpg", b"no picture")
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    ended = scan(fleet, "--prefix=Früchte/", **ascii_only)
    assert "listed     1 = " in ended.stdout.decode() and b"Traceback" not in ended.stderr, ended
    ended = scan(fleet, "--rescan", **ascii_only, PYTHONIOENCODING="ascii")
    assert rb"Fr\xfcchte/1.jpg" in ended.stdout and b"Traceback" not in ended.stderr, ended
