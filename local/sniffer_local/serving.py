"""The model server of the local stack: the real TensorFlow Serving where it is installed, else ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import sniffer_serve
from sniffer.core.model_records import MODEL_NAME
from sniffer_local.processes import Service, answers_http
from sniffer_serve.command import model_server_command


def serving_url(port: int) -> str:
    """The model's URL on the local server."""
    return f"http://127.0.0.1:{port}/v1/models/{MODEL_NAME}"


def serving_service(models: Sequence[str], port: int, log: Path) -> Service:
    """The server of `models`, flags of sniffer_serve.command. Without a version, it waits for one."""
    return Service(
        "model-server",
        tuple(model_server_command(models, port)),
        log,
        lambda: answers_http(port, f"/v1/models/{MODEL_NAME}"),
        start_limit_s=120.0,
        address=f"127.0.0.1:{port}",
        code=(Path(sniffer_serve.__file__).parent,),
    )
