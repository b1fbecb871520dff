"""What a program says arrives in the task's log with its level, and its last error is the task's exception."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from support.task_context import task_context

from sniffer_airflow.executors.program import ProgramOperator
from sniffer_airflow.executors.program_log import LineReader, ProgramLog

KILLED = "talkative was killed by SIGKILL, often for want of memory"
INFO, WARNING, ERROR = logging.INFO, logging.WARNING, logging.ERROR


class Log:
    """Stands for the task's log."""

    def __init__(self) -> None:
        self.records: list[tuple[int, str]] = []
        self.more: list[dict[str, str]] = []

    def log(self, level: int, message: str, *values: object, **more: str) -> None:
        if message.endswith("outside of the Task Runner!"):
            return  # Airflow's own, of the operator
        self.records.append((level, message % values))
        self.more.append(more)

    def info(self, message: str, *values: object) -> None:
        self.log(INFO, message, *values)

    def warning(self, message: str, *values: object) -> None:
        self.log(WARNING, message, *values)


class NoStore:
    def set(self, key: str, value: Any) -> None: ...


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    found = Log()
    monkeypatch.setattr(ProgramOperator, "log", found)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "programs"))
    yield found


def run(*ways: str, module: str = "talkative", flags: tuple[str, ...] = ()) -> Any:
    operator = ProgramOperator(
        task_id="program",
        module=module,
        arguments=[*(f"--say={way}" for way in ways), *flags],
        aws=False,
        mysql=False,
        serving=False,
    )
    return operator.execute(task_context(store=NoStore()))


def failed(*ways: str, **kwargs: Any) -> AirflowException:
    with pytest.raises(AirflowException) as raised:
        run(*ways, **kwargs)
    return raised.value


@pytest.mark.parametrize(
    ("way", "level", "text"),
    [
        ("info", INFO, "talk: all is well"),
        ("warn", WARNING, "talk: S3 is slow:\nERROR forged"),
        ("error", ERROR, "talk: one image is lost"),
        ("c", WARNING, "malloc(): corrupted top size"),
        ("print", INFO, "to standard output"),
        ("print-error", WARNING, "to standard error"),
        ("fold", WARNING, ":group::hidden \\x1b[2J"),
    ],
)
def test_each_line_has_its_level(way: str, level: int, text: str, log: Log) -> None:
    assert run(way) == {"done": True}
    assert (level, text) in log.records


def test_a_record_has_the_programs_time_and_logger(log: Log) -> None:
    run("warn")
    [more] = [each for (level, _), each in zip(log.records, log.more, strict=True) if level == WARNING]
    assert more["logger"] == "talkative.part" and more["timestamp"].endswith("Z")


def test_a_python_warning_is_a_warning(log: Log) -> None:
    run("python-warning")
    [text] = [text for level, text in log.records if level == WARNING]
    assert text.startswith("talk: ") and "FutureWarning: old option" in text


def test_a_stack_trace_stays_with_its_error(log: Log) -> None:
    run("error-with-trace")
    [text] = [text for level, text in log.records if level == ERROR]
    assert text.startswith("talk: it broke\nTraceback (most recent call last):\n")
    assert text.endswith("ValueError: no such thing")


def test_the_result_for_people_is_in_the_log(log: Log) -> None:
    run()
    assert log.records[-2:] == [(INFO, "talk: verdict"), (INFO, "talk:   all of it")]


def test_lines_are_bounded(log: Log) -> None:
    run("long", "long-print")
    [ours] = [text for _, text in log.records if text.startswith("talk: axx")]
    assert len(ours) < 4096 and ours.endswith("z")
    foreign = [text for level, text in log.records if level == WARNING and text.startswith("xxx")]
    assert sum(map(len, foreign)) == 1_000_000 and max(map(len, foreign)) < 100_000


@pytest.mark.parametrize(
    ("ways", "text"),
    [
        (("warn", "transient"), "MySQL at db:3306 does not answer"),
        (("transient",), "MySQL at db:3306 does not answer"),
        (("error", "print-error", "transient"), "MySQL at db:3306 does not answer"),
        (("raise",), "ValueError: no such thing"),
        (("thread", "raise"), "ValueError: no such thing"),
        (("error", "kill"), f"{KILLED}; its last error: one image is lost"),
        (("kill",), KILLED),
        (("c", "kill"), f"{KILLED}; its last error: malloc(): corrupted top size"),
        (("segfault",), "talkative was killed by SIGSEGV; its last error: Fatal Python error: Segmentation fault"),
    ],
)
def test_the_last_error_is_the_exception(ways: tuple[str, ...], text: str, log: Log) -> None:
    error = failed(*ways)
    assert str(error) == text
    assert not isinstance(error, AirflowFailException)
    assert sum(text in line for _, line in log.records) <= 1  # Airflow writes the exception once more


def test_each_failure_is_at_error_on_one_line(log: Log) -> None:
    failed("raise")
    [(level, text)] = [(level, text) for level, text in log.records if "ValueError: no such thing" in text]
    assert level == ERROR and text.splitlines()[0] == "talk: ValueError: no such thing"


def test_a_result_that_is_no_success_says_why(log: Log) -> None:
    assert str(failed(flags=("--status=1",))) == "the certificate does not hold: 3 failed"
    assert (ERROR, "talk: the certificate does not hold: 3 failed") in log.records


def test_wrong_settings_are_said_and_not_retried(log: Log) -> None:
    for error, text in (
        (failed("settings"), "bucket 'nope' does not exist"),
        (failed(flags=("--sya=x",)), "there is no flag --sya: did you mean --say? (see sniffer talk --help)"),
    ):
        assert isinstance(error, AirflowFailException) and str(error) == text
        assert (ERROR, f"talk: {text}") in log.records


def test_a_module_that_is_not_there_is_said(log: Log) -> None:
    text = str(failed(module="no_such_module"))
    assert text.endswith("No module named no_such_module")


def reader(*lines: str) -> list[tuple[int, str]]:
    found, log = LineReader(WARNING), Log()
    written = ProgramLog(log)
    for line in lines:
        written.write(found.read(line))
    written.write(found.flush())
    return log.records


def test_a_stack_trace_that_python_prints_is_one_record() -> None:
    trace = ["Traceback (most recent call last):", '  File "a.py", line 1', "    x", "ImportError: no", "more of it"]
    before, after = "before", '{"not": "ours"}'
    assert reader(before, *trace) == [(WARNING, before), (ERROR, "\n".join(trace))]
    assert reader(after) == [(WARNING, after)]


def test_a_stack_trace_without_end_is_cut_not_collected() -> None:
    records = reader("Traceback (most recent call last):", *("  more" for _ in range(1000)))
    assert len(records) > 4
    assert max(len(text.splitlines()) for _, text in records) <= 200


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("I0000 00:00:1795663917.117051   19135 port.cc:153] oneDNN custom operations are on.", INFO),
        ("W0000 00:00:1795663917.117051   19135 gpu.cc:1] slow", WARNING),
        ("E0000 00:00:1795663926.240705   19135 cuda_platform.cc:52] failed call to cuInit", WARNING),
        ("F0000 00:00:1795663926.240705   19135 tensor.cc:1] Check failed", ERROR),
        ("I am no such line", WARNING),
    ],
)
def test_lines_of_c_libraries_keep_the_level_that_makes_sense(line: str, level: int) -> None:
    assert reader(line) == [(level, line)]
