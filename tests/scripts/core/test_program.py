"""The program shell: result, log, errors and exit status, for every program alike."""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sniffer.core.errors import ContractError, SettingsError, SnifferError, TransientError
from sniffer.core.logs import configure_logging
from sniffer.core.program import Program, ProgramResult


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    root.handlers[:] = []
    yield
    root.handlers[:] = kept
    root.setLevel(level)


def program(found: ProgramResult | int | BaseException, calls: list[str] | None = None) -> Program:
    """A program that gives or raises that, and notes that it ran."""

    def run(_: argparse.Namespace) -> ProgramResult | int:
        if calls is not None:
            calls.append("run")
        if isinstance(found, BaseException):
            raise found
        return found

    def failure(_: argparse.Namespace, error: SnifferError) -> dict[str, object]:
        return {"done": False, "error": str(error)}

    return Program("sniffer try", "Try.", run, hands_on=True, has_text=True, failure=failure)


RESULT = ProgramResult({"images": 3}, "three images")


def test_people_get_text_and_machines_json_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "new" / "result.json"
    assert program(RESULT).main([f"--result={file}"]) == 0
    assert capsys.readouterr().out == "three images\n"
    assert json.loads(file.read_text()) == {"images": 3}
    assert program(RESULT).main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"images": 3}


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc/self").exists(), reason="needs /proc, where nobody writes")
@pytest.mark.parametrize("target", ["/proc/nowhere/result.json", "{folder}"])
def test_a_result_that_cannot_be_written_is_known_before_the_work(
    target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[str] = []
    assert program(RESULT, calls).main([f"--result={target.format(folder=tmp_path)}"]) == 2
    assert calls == []
    assert "sniffer try: cannot write" in capsys.readouterr().err


def test_trying_the_target_leaves_what_is_there(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    file.write_text("yesterday's")
    assert program(TransientError("away")).main([f"--result={file}"]) == 1
    assert json.loads(file.read_text()) == {"done": False, "error": "away"}
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize(
    ("error", "status"), [(SettingsError("a"), 2), (ContractError("a"), 2), (TransientError("a"), 1)]
)
def test_an_error_is_one_line_and_its_status(
    error: SnifferError, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program(error).main([]) == status
    assert capsys.readouterr() == ("", "sniffer try: a\n")


def test_an_interruption_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert program(KeyboardInterrupt()).main([]) == 130
    assert capsys.readouterr().err == "sniffer try: interrupted\n"


def test_a_result_has_its_own_status() -> None:
    assert program(ProgramResult({}, "no", 1)).main([]) == 1
    assert program(3).main([]) == 3


def test_a_log_of_json_is_json_to_the_last_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNIFFER_LOG_FORMAT", "json")
    assert program(TransientError("MySQL is away")).main([]) == 1
    [line] = [json.loads(text) for text in capsys.readouterr().err.splitlines()]
    assert (line["level"], line["message"], line["program"]) == ("ERROR", "MySQL is away", "try")
    monkeypatch.setenv("SNIFFER_LOG_FORMAT", "xml")
    logging.getLogger().handlers[:] = []
    assert program(RESULT).main([]) == 2
    assert program(RESULT).main(["--log-format=text"]) == 0


def test_a_json_line_has_time_level_logger_message_scan_id_and_stack(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("produce", log_format="json")
    configure_logging("produce", "scan-7")
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger("a.b").exception("of 😀 %d", 3)
    document = json.loads(capsys.readouterr().err)
    assert document.pop("time").endswith("Z")
    assert "ValueError: no" in document.pop("exception")
    assert document == {
        "level": "ERROR",
        "logger": "a.b",
        "message": "of 😀 3",
        "program": "produce",
        "scan_id": "scan-7",
    }


def test_a_json_line_names_the_module_that_python_runs() -> None:
    command = [sys.executable, "-m", "sniffer.scan.consume", "--endpoint=ipc:///nowhere", "--log-format=json"]
    ended = subprocess.run(command, env={}, capture_output=True, text=True, timeout=60, check=False)
    [line] = [json.loads(text) for text in ended.stderr.splitlines()]
    assert (line["logger"], line["message"][:28]) == ("sniffer.scan.consume", "SNIFFER_DATABASE_URL is not ")


def test_text_lines_are_as_airflow_reads_them(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("produce", "scan-7")
    logging.getLogger("a").warning("slow")
    assert capsys.readouterr().err.partition(" ")[2] == "WARNING produce [scan-7] slow\n"


def test_a_log_line_goes_to_whatever_standard_error_is_now(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure_logging("scan")
    monkeypatch.setattr(sys, "stderr", sys.stdout)
    logging.getLogger("a").warning("above the bar")
    assert "above the bar" in capsys.readouterr().out
