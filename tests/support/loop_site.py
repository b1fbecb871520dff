"""The systems that the closed loop runs on, and its programs as the DAGs run them: each a process, each to its end."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sniffer.core.redaction import SecretUrl
from sniffer_local import serving
from sniffer_local.processes import Child, free_port
from sniffer_rollout.aspired import Aspired
from sniffer_rollout.targets.local import LocalTarget
from sniffer_serve.command import as_configured
from support.programs import Program

STEP_LIMIT_S = 900.0


class ServedByRollout(Child):
    """The model server of the local stack over a target's config: it serves what a rollout says, nothing at first."""

    def __init__(self, folder: Path, model_base: Path) -> None:
        self.port = free_port()
        self.url = serving.serving_url(self.port)
        self.target = f"local:{folder}"
        model_base.mkdir()
        target = LocalTarget(folder, str(model_base), (SecretUrl(self.url),))
        target.apply(Aspired.of([]))
        super().__init__(serving.serving_service(as_configured(target.config), self.port, folder / "server.log"))


@dataclass(frozen=True)
class LoopSite:
    """Where the loop's data are, and the environment of its programs."""

    folder: Path
    model_base: Path
    environ: dict[str, str]

    def run(self, module: str, *flags: str) -> dict[str, Any]:
        """Run the program to a good end; returns its result, as Airflow would keep it."""
        file = self.folder / "result.json"
        file.unlink(missing_ok=True)
        with Program(module, *flags, f"--result={file}", environ=self.environ) as program:
            assert program.wait(STEP_LIMIT_S) == 0, program.text()
        found: dict[str, Any] = json.loads(file.read_text())
        return found

    def train(self, number: int, source: str, night: tuple[str, ...], *gate_flags: str) -> dict[str, Any]:
        """Snapshot, train, evaluate and gate, as `retrain_model` does; returns the verdict."""
        at, cache = f"--workdir={self.workdir(number)}", f"--feature-cache={self.folder / 'features'}"
        lineage = f"--lineage={self.folder / 'lineage.json'}"
        self.run("sniffer_model.data.snapshot", at, lineage, f"--source={source}", *HELD_OUT_SHARES)
        self.run("sniffer_model.training.train", at, cache, "--backbone-weights=random")
        self.run("sniffer_model.evaluation.evaluate", at, cache, *night)
        return self.run("sniffer_model.gate", at, cache, f"--model-base-path={self.model_base}", *gate_flags)

    def roll_out(self, number: int) -> int:
        """Export what the gate has blessed, and roll it out, as `export_model` and `rollout_serving` do."""
        at, base = f"--workdir={self.workdir(number)}", f"--model-base-path={self.model_base}"
        exported: int = self.run("sniffer_model.export.export", at, base)["version"]
        done = self.run("sniffer_rollout", "run", base)
        assert done["version"] == exported, done
        return exported

    def scan(self, bucket: str) -> dict[str, Any]:
        """Scan the whole bucket by the stable version; returns the certificate."""
        return self.run("sniffer.scan", f"--bucket={bucket}", "--consumers=1")

    def workdir(self, number: int) -> Path:
        """Of that training."""
        return self.folder / f"run-{number}"


HELD_OUT_SHARES = ("--validation-fraction=0.3", "--test-fraction=0.3")
"""Few labels: so much of them has to judge."""
