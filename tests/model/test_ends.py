"""SIGTERM ends the programs of training and rollout within seconds, and leaves no file half-written."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.hanging import LIMIT_S, Hanging
from support.programs import Program, eventually
from support.training import FEW_IMAGES, NIGHT, Run

pytestmark = pytest.mark.slow

WORKDIR, CACHE = "--workdir={tmp}/run", "--feature-cache={tmp}/features"
VERSION = "--version=1"
ASKING = {
    "count-labels": ["model", "count-labels", "--source=s3://labels/images", "--lineage={tmp}/lineage.json"],
    "gate": ["model", "gate", WORKDIR, CACHE, *FEW_IMAGES],
    "export to S3": ["model", "export", WORKDIR, "--model-base-path=s3://models/x", "--no-register"],
    "load": ["rollout", "load", VERSION],
    "verify": ["rollout", "verify", VERSION],
    "promote": ["rollout", "promote", VERSION],
    "rollback": ["rollout", "rollback"],
}
"""They ask MySQL or S3, which never answer."""
WORKING = {
    "train": (["train", CACHE, "--backbone-weights=random"], "backbone ResNet50"),
    "evaluate": (["evaluate", "--feature-cache={tmp}/new", *NIGHT], "images"),
    "export": (["export", "--model-base-path={tmp}/base", "--no-register"], ""),
}
"""They compute; the word in their log that says so, or any TensorFlow in memory."""


@pytest.fixture
def run(trained_run: Run, tmp_path: Path) -> Path:
    """A folder with a copy of the run that may be written to."""
    shutil.copytree(trained_run.workdir.path, tmp_path / "run")
    shutil.copytree(trained_run.feature_cache, tmp_path / "features")
    return tmp_path


def assert_whole(folder: Path) -> None:
    """No part of a file is left, and what is there can be read."""
    assert [path for path in folder.rglob(".*") if path.is_file()] == []
    for path in (folder / "run").glob("*.json"):
        json.loads(path.read_text())


@pytest.mark.parametrize("name", ASKING)
def test_it_ends_while_nobody_answers(name: str, run: Path) -> None:
    hanging = Hanging(ASKING[name], signal.SIGTERM, run)
    try:
        hanging.await_hanging()
        took_s, status, children = hanging.end()
        assert children == [] and took_s < LIMIT_S and status == 1, (took_s, status, hanging.program.text())
    finally:
        hanging.close()
    assert_whole(run)


@pytest.mark.parametrize("name", WORKING)
def test_it_ends_while_it_computes(name: str, run: Path) -> None:
    flags, word = WORKING[name]
    argv = ["model", flags[0], WORKDIR, *flags[1:]]
    with Program("sniffer.cli", *(flag.format(tmp=run) for flag in argv)) as program:
        eventually(_is_under_way(program, word), f"{name} works: {program.text()}")
        began = time.monotonic()
        program.signal(signal.SIGTERM)
        status = program.wait(30)
        assert time.monotonic() - began < LIMIT_S and status == 1, program.text()
    assert_whole(run)
    base = run / "base"
    assert not base.exists() or not [path for path in base.iterdir() if path.name.isdecimal()]


def _is_under_way(program: Program, word: str) -> Callable[[], bool]:
    def has_tensorflow() -> bool:
        assert program.process.poll() is None, program.text()
        if word:
            return word in program.text()
        return "libtensorflow" in Path(f"/proc/{program.process.pid}/maps").read_text()

    return has_tensorflow
