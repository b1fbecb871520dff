"""Fixtures of the training path: one small model, made once a session by the programs themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.shared import made_once
from support.training import FEW_IMAGES, NIGHT, Run

from sniffer_local.samples.__main__ import main as draw_samples
from sniffer_model.data import snapshot
from sniffer_model.workdir import Workdir

IMAGES = 240


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run after snapshot, train, evaluate and gate, with the random backbone. Not to be written to."""
    return _run(made_once(tmp_path_factory, "trained", _train))


@pytest.fixture(scope="session")
def exported_model(trained_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model base path with version 1, a real one. Not to be written to."""

    def publish(base: Path) -> None:
        from sniffer_model.export import export

        assert export.main([*trained_run.workdir_flags, "--model-base-path", str(base), "--no-register"]) == 0

    return made_once(tmp_path_factory, "drug_detector", publish)


def _run(folder: Path) -> Run:
    return Run(folder / "images", Workdir(folder / "run"), folder / "features")


def _train(folder: Path) -> None:
    # Here, since most tests beside this file do without TensorFlow, which takes seconds to import.
    from sniffer_model.evaluation import evaluate
    from sniffer_model.gate import __main__ as gate
    from sniffer_model.training import train

    run = _run(folder)
    assert draw_samples(["--out", str(run.images), "--count", str(IMAGES), "--seed", "11"]) == 0
    assert snapshot.main(["--source", str(run.images), *run.workdir_flags]) == 0
    assert train.main([*run.flags, "--backbone-weights", "random"]) == 0
    assert evaluate.main([*run.flags, *NIGHT]) == 0
    assert gate.main([*run.flags, "--no-register", "--stable-version", "none", *FEW_IMAGES]) == 0
