"""Which program serves the model on this machine: a real TensorFlow Serving where there is one, else ours."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path


def newest_of(model_name: str, model_base_path: Path) -> list[str]:
    """The flags that let a server serve the newest version in a folder."""
    return [f"--model_name={model_name}", f"--model_base_path={model_base_path.absolute()}"]


def as_configured(config_file: Path) -> list[str]:
    """The flags that let a server serve what a ModelServerConfig says, and follow its changes within a second."""
    return [
        f"--model_config_file={config_file.absolute()}",
        "--model_config_file_poll_wait_seconds=1",
        # Else a server whose first config has labels would end at once.
        "--allow_version_labels_for_unavailable_models=true",
    ]


def model_server_command(models: Sequence[str], rest_api_port: int) -> list[str]:
    """The command line that serves `models` (flags of this module) on `rest_api_port`, in the foreground until SIGTERM.

    `tensorflow_model_server` is taken when it is on PATH. It cannot be told to stay on loopback: its REST port, which
    knows no authentication, is open on every interface (TensorFlow Serving issues 1824 and 1969), so the machine's
    firewall has to keep it private. Its gRPC cannot be switched off either, but it can be moved from a TCP port to a
    UNIX socket, which is what happens here. Ours listens on 127.0.0.1 alone.
    """
    # By default a version that cannot be loaded is tried for five minutes.
    flags = [*models, f"--rest_api_port={rest_api_port}", "--max_num_load_retries=1"]
    real = shutil.which("tensorflow_model_server")
    if real is None:
        return [sys.executable, "-m", "sniffer_serve.server", *flags]
    # Without load threads of its own, a version that loads or is retried holds up every other version change.
    return [real, *flags, "--num_load_threads=2", "--port=0", f"--grpc_socket_path={_grpc_socket(rest_api_port)}"]


def _grpc_socket(rest_api_port: int) -> Path:
    # In the short temporary folder: a UNIX socket's path may have no more than 107 bytes.
    return Path(tempfile.gettempdir()) / f"tf_serving_{os.getuid()}_{rest_api_port}.sock"
