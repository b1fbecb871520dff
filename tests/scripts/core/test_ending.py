"""SIGTERM and SIGINT end every program within seconds, whatever hangs; each case is a process of its own."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from support.black_hole import BlackHole
from support.programs import Program, eventually

LIMIT_S = 5.0

SCRIPT = """
import sys, threading, time, signal, socket
from sniffer.core.ending import Ending
from sniffer.core.program import Program

def sleep(arguments):
    print("ready", flush=True)
    time.sleep(60)
    return 0

def hang_in_c(arguments):
    # A call that no signal interrupts: Python's own handlers never run.
    import ctypes
    libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
    print("ready", flush=True)
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
DATABASE = "mysql+mysqldb://u:p@127.0.0.1:{port}/d"
SERVING = "http://127.0.0.1:{port}/v1/models/drug_detector"
S3 = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1"}


def settings(port: int) -> dict[str, str]:
    return S3 | {
        "SNIFFER_DATABASE_URL": DATABASE.format(port=port),
        "SNIFFER_SERVING_URL": SERVING.format(port=port),
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "SNIFFER_ROLLOUT_TARGET": "local:/tmp/none",
        "SNIFFER_MODEL_BASE_PATH": "/tmp/none",
        "SNIFFER_SERVING_REPLICAS": f"http://127.0.0.1:{port}",
    }


PROGRAMS = {
    "scan": ["scan", BUCKET, "--consumers=1"],
    "scan --dry-run": ["scan", BUCKET, "--dry-run"],
    "produce": ["produce", BUCKET, "--endpoint=tcp://127.0.0.1:*"],
    "consume": ["consume", "--endpoint=tcp://127.0.0.1:1"],
    "migrate": ["migrate"],
    "doctor": ["doctor", BUCKET],
    "model snapshot": ["model", "snapshot", "--source=s3://labels/images", "--workdir={tmp}/w"],
    "rollout preflight": ["rollout", "preflight", "--version=1"],
    "rollout restore": ["rollout", "restore"],
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("flags", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_a_program_ends_while_what_it_asks_never_answers(
    flags: list[str], number: signal.Signals, tmp_path: Path
) -> None:
    aspired = tmp_path / "a"
    aspired.write_text('{"versions": [3], "labels": {"stable": 3}}')
    argv = [flag.format(tmp=tmp_path) for flag in flags]
    with BlackHole() as hole, Program("sniffer.cli", *argv, environ=settings(hole.port)) as program:
        assert hole.is_asked.wait(60), program.text()
        time.sleep(0.3)
        began = time.monotonic()
        program.signal(number)
        status = program.wait(30)
        took_s = time.monotonic() - began
        assert program.children() == []
    assert took_s < LIMIT_S and status in (1, 130), (took_s, status, program.text())
