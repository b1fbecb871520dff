"""The programs of training and export fit the scheduler of docker/small.yaml: their peaks with the real ResNet50."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import yaml
from support.imports import CHECKOUT
from support.programs import Program
from support.training import FEW_IMAGES, NIGHT, Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MIB = 1024**2
BESIDE_MIB = 512
"""The scheduler itself and Airflow's process of the task, which took 340 MB."""
LIMIT_S = 500
OF_A_TRAINING = {
    "train": ["sniffer_model.training.train", "--backbone-weights=random"],
    "train, fine-tuning": ["sniffer_model.training.train", "--backbone-weights=random", "--fine-tune"],
    "evaluate": ["sniffer_model.evaluation.evaluate", *NIGHT],
}


def scheduler_limit_mib() -> float:
    """What docker/small.yaml gives the scheduler, whose processes the programs of tasks are."""
    limit = yaml.safe_load((CHECKOUT / "docker/small.yaml").read_text())["services"]["scheduler"]["mem_limit"]
    assert limit.endswith("m")
    return float(limit[:-1])


def anonymous_mib(pid: int) -> float:
    """What the process has in memory that is no file's: what a container's limit is about. 0 once it is gone."""
    try:
        found = re.search(r"^RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) / 1024 if found else 0


def peak_mib(*argv: str) -> float:
    """Run the program to its end, which must be a good one or a rejection; its peak with its children."""
    peak, deadline = 0.0, time.monotonic() + LIMIT_S
    with Program(*argv) as program:
        while program.process.poll() is None:
            assert time.monotonic() < deadline, program.text()
            pids = [program.process.pid, *(child.pid for child in program.children())]
            peak = max(peak, sum(anonymous_mib(pid) for pid in pids))
            time.sleep(0.02)
        assert program.wait() in (0, 1), program.text()
    assert peak > 50, "nothing was measured"
    return peak


def assert_fits(peak: float, what: str) -> None:
    print(f"{what}: {peak:.0f} MiB")
    assert peak + BESIDE_MIB <= scheduler_limit_mib(), what


@pytest.mark.parametrize("name", OF_A_TRAINING)
def test_a_training_fits_the_small_machine(name: str, trained_run: Run, tmp_path: Path) -> None:
    module, *flags = OF_A_TRAINING[name]
    workdir = tmp_path / "run"
    workdir.mkdir()
    # The training itself starts from the snapshot alone.
    for path in trained_run.workdir.path.iterdir():
        if name == "evaluate" or path == trained_run.workdir.manifest:
            (workdir / path.name).write_bytes(path.read_bytes())
    peak = peak_mib(module, f"--workdir={workdir}", f"--feature-cache={tmp_path / 'features'}", *flags)
    assert_fits(peak, name)


def test_an_export_fits_the_small_machine(trained_run: Run, tmp_path: Path) -> None:
    flags = [*trained_run.workdir_flags, f"--model-base-path={tmp_path / 'models'}", "--no-register"]
    assert_fits(peak_mib("sniffer_model.export.export", *flags), "export")
    weights = tmp_path / "models/1/variables/variables.data-00000-of-00001"
    assert weights.stat().st_size > 80 * MIB, "the full-size backbone"


def test_a_comparison_with_the_stable_model_fits_the_small_machine(
    trained_run: Run, exported_model: Path, tmp_path: Path
) -> None:
    workdir = tmp_path / "run"
    workdir.mkdir()
    for path in trained_run.workdir.path.iterdir():
        (workdir / path.name).write_bytes(path.read_bytes())
    base = [f"--model-base-path={exported_model}", "--stable-version=1", "--no-register"]
    flags = [f"--workdir={workdir}", f"--feature-cache={trained_run.feature_cache}", *FEW_IMAGES, *base]
    assert_fits(peak_mib("sniffer_model.gate", *flags), "gate")
    assert '"stable_version": 1' in (workdir / "verdict.json").read_text()
