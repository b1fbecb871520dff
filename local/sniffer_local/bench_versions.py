"""What versions cost the model server: memory with one and with each further one, and its start until it serves.

Beside it, in turns, the same network with its weights as constants, as exports were until their fifth form.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from sniffer.adapters.serving import ModelServer
from sniffer.core.model_records import MODEL_NAME, PIXEL_BYTES
from sniffer.core.settings import ServingSettings
from sniffer_local.bench_export import random_head, with_constants
from sniffer_local.figure import Figure
from sniffer_local.processes import Child, free_port
from sniffer_local.serving import serving_service, serving_url
from sniffer_model.export.prove import release_memory
from sniffer_model.export.warmup import write_warmup
from sniffer_model.training.backbone import build_backbone
from sniffer_model.training.network import save_for_serving, serving_network, whole_network
from sniffer_serve.command import as_configured

MB = 1_000_000
BATCH = 32
AT_ONCE = 2
"""Requests of a fleet that a server computes side by side."""
STARTS = 2
PATIENCE_S = 300.0


@dataclass(frozen=True, slots=True)
class VersionCost:
    """Of one form of a SavedModel: seconds to the first version served, bytes with it, and bytes of a second one."""

    start_s: float
    one_bytes: int
    further_bytes: int


def measure_versions(folder: Path) -> list[Figure]:
    """Start a server over each form, twice in turns, and look at its memory; all files go below the folder."""
    _save_models(folder)
    release_memory()
    runs: dict[str, list[VersionCost]] = {"constants": [], "exported": []}
    for turn in range(STARTS):
        for name, costs in runs.items():
            costs.append(_measured(folder / name, folder / f"{name}-{turn}.log"))
    exported, constants = (_typical(runs[name]) for name in ("exported", "constants"))
    return [
        Figure("model server with one version", exported.one_bytes / MB, 1200, False, "MB"),
        Figure("  its memory / that of weights as constants", exported.one_bytes / constants.one_bytes),
        Figure("each further version", exported.further_bytes / MB, 350, False, "MB"),
        Figure(
            "  its memory / that of weights as constants, further", exported.further_bytes / constants.further_bytes
        ),
        Figure("start of the model server until it serves", exported.start_s, unit="s"),
        Figure("  that start / of weights as constants", exported.start_s / constants.start_s),
    ]


class _OfConstants:
    """A function of pixels in the place of a network whose weights are to be saved: it has none."""

    weights = ()

    def __init__(self, score: Callable[[Any], Any]) -> None:
        self._score = score

    def __call__(self, pixels: Any, training: bool) -> Any:  # noqa: ARG002 - as Keras is called
        return self._score(pixels)[0]


def _save_models(folder: Path) -> None:
    backbone, head = build_backbone("random"), random_head()
    save_for_serving(serving_network(backbone, head, 1.5), folder / "exported" / "1")
    save_for_serving(_OfConstants(with_constants(whole_network(backbone, head, 1.5))), folder / "constants" / "1")
    for name in ("exported", "constants"):
        write_warmup(folder / name / "1")


def _measured(base: Path, log: Path) -> VersionCost:
    config = base.with_suffix(".config")
    config.write_text(
        f'model_config_list {{ config {{ name: "{MODEL_NAME}" base_path: "{base}" model_platform: "tensorflow" '
        "model_version_policy { all {} } } }"
    )
    port = free_port()
    server = Child(serving_service(as_configured(config), port, log))
    began = time.monotonic()
    # The port opens once the version is served.
    server.start()
    start_s = time.monotonic() - began
    try:
        with ModelServer(ServingSettings(serving_url(port), PATIENCE_S, read_timeout_s=PATIENCE_S)) as client:
            _ask(client, 1)
            one = psutil.Process(server.pid).memory_info().rss
            shutil.copytree(base / "1", base / "copying")
            (base / "copying").rename(base / "2")
            _wait_for(client, 2)
            _ask(client, 2)
            _ask(client, 1)
            return VersionCost(start_s, one, psutil.Process(server.pid).memory_info().rss - one)
    finally:
        server.stop()
        shutil.rmtree(base / "2", ignore_errors=True)


def _ask(client: ModelServer, version: int) -> None:
    """Batches as a fleet sends them, more than are computed at once."""
    draw = np.random.default_rng(version)
    images = [draw.bytes(PIXEL_BYTES) for _ in range(BATCH)]
    with ThreadPoolExecutor(AT_ONCE) as senders:
        for scores in senders.map(lambda _: client.predict(version, images), range(2 * AT_ONCE)):
            if len(scores) != BATCH:
                raise RuntimeError(f"{len(scores)} scores for {BATCH} images")


def _wait_for(client: ModelServer, version: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not any(one.version == version and one.is_available for one in client.version_states()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"version {version} is not served after {PATIENCE_S:.0f} s")
        time.sleep(0.1)


def _typical(costs: list[VersionCost]) -> VersionCost:
    """The medians of seconds, the most of bytes."""
    return VersionCost(
        statistics.median(cost.start_s for cost in costs),
        max(cost.one_bytes for cost in costs),
        max(cost.further_bytes for cost in costs),
    )
