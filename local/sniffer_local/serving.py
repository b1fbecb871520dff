"""The model server of the local stack: the real TensorFlow Serving where it is installed, else ours; and its proof."""

from __future__ import annotations

import time
from pathlib import Path

import sniffer_model
from sniffer.contracts import MODEL_NAME, ContractError, TransientError
from sniffer.serving import ModelServer
from sniffer.settings import ServingSettings
from sniffer_local.processes import Service, answers_on
from sniffer_model.golden import read_golden
from sniffer_model.serving.command import model_server_command

TOLERANCE = 1e-3
"""Between scores of one model in one batch or another; float32 sums differ in the sixth digit."""
POLL_S = 0.3


def serving_url(port: int) -> str:
    """The model's URL on the local server."""
    return f"http://127.0.0.1:{port}/v1/models/{MODEL_NAME}"


def serving_service(base: Path, port: int, log: Path) -> Service:
    """The server over a folder of versions. It waits for the first version; how long depends on the training."""
    command = model_server_command(MODEL_NAME, base, port)
    return Service(
        "model-server",
        tuple(command),
        log,
        lambda: answers_on(port),
        start_limit_s=120.0,
        code=(Path(sniffer_model.__file__).parent,),
    )


def wait_until_served(port: int, version: int, limit_s: float = 120.0) -> None:
    """Return once that version can be asked; raises the last refusal when the time is over."""
    deadline = time.monotonic() + limit_s
    with ModelServer(ServingSettings(serving_url(port), patience_s=0.0)) as server:
        while True:
            try:
                return server.check(version)
            except (ContractError, TransientError):
                if time.monotonic() > deadline:
                    raise
            time.sleep(POLL_S)


def prove_served(port: int, directory: Path) -> int:
    """Ask the server for the scores of a published version's golden examples; returns how many it got right.

    Raises ContractError at the first that differs from what the trained model said.
    """
    version, examples = int(directory.name), read_golden(directory)
    with ModelServer(ServingSettings(serving_url(port))) as server:
        scores = server.predict(version, [example.image.pixels.tobytes() for example in examples])
    for number, (example, score) in enumerate(zip(examples, scores, strict=True)):
        if abs(score - example.score) > TOLERANCE:
            raise ContractError(
                f"model version {version} scores golden example {number} {score:.4f}, not {example.score:.4f} as when "
                "it was exported: export it again"
            )
    return len(examples)
