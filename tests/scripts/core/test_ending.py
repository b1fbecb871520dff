"""SIGTERM and SIGINT end every program within seconds, whatever hangs; each case is a process of its own."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from support.hanging import LIMIT_S, Hanging
from support.programs import Program, eventually

SCRIPT = """
import sys, threading, time, signal, socket
from sniffer.core.ending import Ending
from sniffer.core.program import Program

def sleep(arguments):
    print("ready", flush=True)
    time.sleep(60)
    return 0

def say_when_asleep(thread):
    looks = 0
    while looks < 5:
        time.sleep(0.02)
        with open(f"/proc/self/task/{thread}/stat") as stat:
            looks = looks + 1 if stat.read().rpartition(")")[2].split()[0] == "S" else 0
    print("ready", flush=True)

def hang_in_c(arguments):
    # A call that no signal interrupts: Python's own handlers never run.
    import ctypes
    libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
    libc.pthread_mutex_lock(mutex)
    threading.Thread(target=say_when_asleep, args=(threading.get_native_id(),), daemon=True).start()
    while True:
        libc.pthread_mutex_lock(mutex)

def never_stops(arguments):
    with Ending.by(lambda: print("asked", flush=True)):
        print("ready", flush=True)
        while True:
            time.sleep(0.1)

def stops(arguments):
    asked = threading.Event()
    with Ending.by(asked.set):
        print("ready", flush=True)
        while not asked.wait(0.1):
            pass
    # A thread that Python would wait for.
    threading.Thread(target=time.sleep, args=(60,)).start()
    return 7

def stops_twice(arguments):
    first, second = threading.Event(), threading.Event()
    with Ending.by(first.set):
        print("ready", flush=True)
        first.wait()
    with Ending.by(second.set):
        second.wait()
    return 7

def swallows(arguments):
    print("ready", flush=True)
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass

sys.exit(Program("sniffer try", "Try.", globals()[sys.argv[1]]).main([]))
"""


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "program.py"
    path.write_text(SCRIPT)
    return str(path)


def ended(program: Program, *numbers: signal.Signals) -> tuple[int, float]:
    """Its exit status after these signals, half a second between them, and how long it took from the first."""
    eventually(lambda: "ready" in program.out, "it is under way")
    began = time.monotonic()
    for place, number in enumerate(numbers):
        time.sleep(0.5 if place else 0)
        program.signal(number)
    return program.wait(30), time.monotonic() - began


@pytest.mark.parametrize(
    ("case", "number", "status", "limit_s", "words"),
    [
        ("sleep", signal.SIGTERM, 1, 1.0, "sniffer try: ended by SIGTERM: run it again to do what is left"),
        ("sleep", signal.SIGINT, 130, 1.0, "ended by SIGINT"),
        ("hang_in_c", signal.SIGTERM, 1, LIMIT_S, "not ended 3.5 s after SIGTERM"),
        ("hang_in_c", signal.SIGINT, 130, LIMIT_S, "not ended 3.5 s after SIGINT"),
        ("never_stops", signal.SIGTERM, 1, LIMIT_S, "not ended 3.5 s after SIGTERM"),
        ("swallows", signal.SIGTERM, 1, LIMIT_S, "not ended 3.5 s after SIGTERM"),
        ("stops", signal.SIGTERM, 7, 1.5, "ready"),
        ("stops_twice", signal.SIGTERM, 7, 1.5, "ready"),
    ],
)
def test_a_signal_ends_it_in_time(
    script: str, case: str, number: signal.Signals, status: int, limit_s: float, words: str
) -> None:
    with Program(script, case) as program:
        found, took_s = ended(program, number)
    assert found == status and took_s < limit_s and words in program.text(), (found, took_s, program.text())


def test_a_second_signal_ends_it_at_once(script: str) -> None:
    for case in ("never_stops", "hang_in_c"):
        with Program(script, case) as program:
            status, took_s = ended(program, signal.SIGINT, signal.SIGINT)
        assert status == 130 and took_s < 1.5


def test_the_same_signal_from_the_terminal_and_from_the_parent_counts_once(script: str) -> None:
    with Program(script, "never_stops") as program:
        eventually(lambda: "ready" in program.out, "it is under way")
        program.signal(signal.SIGINT)
        program.signal(signal.SIGTERM)
        time.sleep(1)
        assert program.process.poll() is None, program.text()
        assert program.wait(10) in (1, 130)
    assert program.out.count("asked") == 1


def test_what_was_ignored_stays_ignored(script: str, tmp_path: Path) -> None:
    starter = tmp_path / "starter.py"
    starter.write_text(
        "import signal, runpy, sys\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "sys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    with Program(str(starter), script, "sleep") as program:
        eventually(lambda: "ready" in program.out, "it is under way")
        program.signal(signal.SIGINT)
        time.sleep(0.5)
        assert program.process.poll() is None
        program.signal(signal.SIGTERM)
        assert program.wait(5) == 1


def test_the_last_words_are_json_where_the_log_is(script: str) -> None:
    with Program(script, "hang_in_c", environ={"SNIFFER_LOG_FORMAT": "json"}) as program:
        ended(program, signal.SIGTERM)
    assert len(program.err) == 1 and '"level": "ERROR"' in program.err[0] and '"gives_up": true' in program.err[0]


BUCKET = "--bucket=uploads"
PROGRAMS = {
    "scan": ["scan", BUCKET, "--consumers=1"],
    "scan --dry-run": ["scan", BUCKET, "--dry-run"],
    "produce": ["produce", BUCKET, "--endpoint=tcp://127.0.0.1:*"],
    "consume": ["consume", "--endpoint=tcp://127.0.0.1:1"],
    "migrate": ["migrate"],
    "doctor": ["doctor", BUCKET],
    "plan": ["plan", BUCKET],
    "model snapshot": ["model", "snapshot", "--source=s3://labels/images", "--workdir={tmp}/w"],
    "rollout preflight": ["rollout", "preflight", "--version=1"],
    "rollout restore": ["rollout", "restore"],
    "rollout run": ["rollout", "run"],
    "rollout sync": [
        "rollout",
        "sync",
        "--model-base-path=s3://m/x",
        "--models-dir={tmp}/m",
        "--aspired={tmp}/a",
        "--config={tmp}/c",
        "--once",
    ],
}


INTERRUPTED = ("scan", "consume", "rollout sync")
"""SIGINT goes SIGTERM's way: it is enough to see it in one program of each kind."""
CASES = [
    *((name, signal.SIGTERM) for name in PROGRAMS),
    *((name, signal.SIGINT) for name in INTERRUPTED),
]


@pytest.fixture(scope="module")
def hanging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, signal.Signals], Hanging]]:
    """All of them, side by side, since most of a case is waiting."""
    folder = tmp_path_factory.mktemp("hanging")
    with contextlib.ExitStack() as stack:
        found = {}
        for place, (name, number) in enumerate(CASES):
            found[name, number] = Hanging(PROGRAMS[name], number, folder / str(place))
            stack.callback(found[name, number].close)
        yield found


@pytest.fixture(scope="module")
def ends(
    hanging: dict[tuple[str, signal.Signals], Hanging],
) -> dict[tuple[str, signal.Signals], tuple[float, int, list[psutil.Process]]]:
    """How each of them ended, told as soon as it hangs: some have no patience with what does not answer."""
    with ThreadPoolExecutor(len(hanging)) as pool:
        ends = {case: pool.submit(each.end_hanging) for case, each in hanging.items()}
        return {case: end.result() for case, end in ends.items()}


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("name", "number"), CASES, ids=[f"{name}-{number.name}" for name, number in CASES])
def test_a_program_ends_while_what_it_asks_never_answers(
    name: str,
    number: signal.Signals,
    hanging: dict[tuple[str, signal.Signals], Hanging],
    ends: dict[tuple[str, signal.Signals], tuple[float, int, list[psutil.Process]]],
) -> None:
    took_s, status, children = ends[name, number]
    assert children == []
    # A consumer that nobody has given work has left nothing undone.
    expected = (0, 1, 130) if name == "consume" else (1, 130)
    assert took_s < LIMIT_S and status in expected, (took_s, status, hanging[name, number].program.text())


FURTHER = {
    "rollout load": ["rollout", "load", "--version=1"],
    "rollout verify": ["rollout", "verify", "--version=1"],
    "rollout promote": ["rollout", "promote", "--version=1"],
    "rollout rollback": ["rollout", "rollback"],
    "model count-labels": ["model", "count-labels", "--source=s3://labels/images", "--lineage={tmp}/lineage.json"],
}
"""Their kind is among those above already."""


@pytest.mark.slow
@pytest.mark.parametrize("name", FURTHER)
def test_a_program_like_those_ends_in_time_too(name: str, tmp_path: Path) -> None:
    hanging = Hanging(FURTHER[name], signal.SIGTERM, tmp_path)
    try:
        hanging.await_hanging()
        took_s, status, children = hanging.end()
        assert children == [] and took_s < LIMIT_S and status == 1, (took_s, status, hanging.program.text())
    finally:
        hanging.close()
