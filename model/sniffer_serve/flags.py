"""TensorFlow Serving's flags, as far as this server supports them, and ours: from argv to `ServeSettings`."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from sniffer.core.errors import SettingsError
from sniffer.core.parser import Parser
from sniffer_serve.versions import RetryPolicy

DESCRIPTION = (
    "Model server for machines without TensorFlow Serving: its REST API and its flags, over the package tensorflow. "
    "gRPC is not served, and batches are left to the client."
)
_CPUS = os.cpu_count() or 1
_MICROS_PER_S = 1_000_000


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """What the server was asked to do, validated; durations in seconds, None or 0 where a flag's 0 means never."""

    rest_api_host: str
    rest_api_port: int
    rest_api_threads: int
    rest_api_timeout_s: float | None
    predict_concurrency: int
    model_name: str
    model_base_path: Path | None
    model_config_file: Path | None
    model_config_poll_s: float
    file_system_poll_s: float
    retry: RetryPolicy
    warm_up_iterations: int
    allow_labels_for_unavailable: bool
    intra_op_threads: int
    inter_op_threads: int


def serve_settings(arguments: argparse.Namespace) -> ServeSettings:
    """The settings that these flags stand for; raises SettingsError naming a bad one."""
    if arguments.port != 0:
        raise SettingsError("--port: gRPC is not served here; leave the flag out or set it to 0")
    if arguments.rest_api_port == 0:
        raise SettingsError("--rest_api_port: 0 turns REST off and nothing would be left; give a free port")
    if arguments.model_config_file is None and arguments.model_base_path is None:
        raise SettingsError("give --model_base_path (with --model_name), or --model_config_file")
    return ServeSettings(
        rest_api_host=arguments.rest_api_host,
        rest_api_port=arguments.rest_api_port,
        rest_api_threads=arguments.rest_api_num_threads,
        rest_api_timeout_s=arguments.rest_api_timeout_in_ms / 1000 or None,
        predict_concurrency=arguments.predict_concurrency,
        model_name=arguments.model_name,
        model_base_path=arguments.model_base_path and arguments.model_base_path.absolute(),
        model_config_file=arguments.model_config_file,
        model_config_poll_s=arguments.model_config_file_poll_wait_seconds,
        file_system_poll_s=arguments.file_system_poll_wait_seconds,
        retry=RetryPolicy(arguments.max_num_load_retries, arguments.load_retry_interval_micros / _MICROS_PER_S),
        warm_up_iterations=max(arguments.num_request_iterations_for_warmup, 1) if arguments.enable_model_warmup else 0,
        allow_labels_for_unavailable=arguments.allow_version_labels_for_unavailable_models,
        intra_op_threads=arguments.tensorflow_intra_op_parallelism,
        inter_op_threads=arguments.tensorflow_inter_op_parallelism,
    )


def add_arguments(parser: Parser) -> None:
    """Add the arguments."""
    _add_model_flags(parser.add_argument_group("models (TensorFlow Serving's flags)"))
    _add_server_flags(parser.add_argument_group("server (TensorFlow Serving's flags)"))
    ours = parser.add_argument_group("ours (TensorFlow Serving has no such flag)")
    ours.add_argument("--rest_api_host", default="127.0.0.1", help="address to listen on; there is no authentication")
    ours.add_argument(
        "--predict_concurrency", type=_positive, default=1, help="requests that TensorFlow runs at the same time"
    )


def _add_model_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--model_name", default="default", help="ignored with --model_config_file")
    group.add_argument(
        "--model_base_path", type=Path, help="folder of numbered versions; ignored with --model_config_file"
    )
    group.add_argument("--model_config_file", type=Path, help="a ModelServerConfig in text form")
    group.add_argument(
        "--model_config_file_poll_wait_seconds",
        type=_count,
        default=0,
        help="how often the config file is read again; 0: only at the start",
    )
    group.add_argument(
        "--file_system_poll_wait_seconds",
        type=_count,
        default=1,
        help="how often new versions are looked for; 0: only at the start",
    )
    group.add_argument(
        "--allow_version_labels_for_unavailable_models",
        type=_boolean,
        nargs="?",
        const=True,
        default=False,
        metavar="BOOL",
        help="let a label that is not in use name a version that is not loaded yet; labels at the start need it",
    )
    group.add_argument("--max_num_load_retries", type=_count, default=5, help="after a version failed to load")
    group.add_argument("--load_retry_interval_micros", type=_count, default=60 * _MICROS_PER_S, help="between them")
    group.add_argument(
        "--enable_model_warmup",
        type=_boolean,
        nargs="?",
        const=True,
        default=True,
        metavar="BOOL",
        help="replay assets.extra/tf_serving_warmup_requests before a version is served",
    )
    group.add_argument("--num_request_iterations_for_warmup", type=_count, default=1, help="replays of each record")


def _add_server_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--rest_api_port", type=_port, default=0, help="TCP port of the REST API; required here")
    group.add_argument("--port", type=_port, default=0, help="gRPC IS NOT SERVED HERE: only 0 is accepted")
    group.add_argument("--rest_api_num_threads", type=_positive, default=4 * _CPUS, help="requests handled at a time")
    group.add_argument(
        "--rest_api_timeout_in_ms", type=_count, default=30_000, help="for one run of the model; 0: no limit"
    )
    group.add_argument("--tensorflow_intra_op_parallelism", type=_count, default=0, help="threads; 0: automatic")
    group.add_argument("--tensorflow_inter_op_parallelism", type=_count, default=0, help="threads; 0: automatic")


def _boolean(text: str) -> bool:
    match text.lower():
        case "true" | "1":
            return True
        case "false" | "0":
            return False
        case _:
            raise argparse.ArgumentTypeError(f"must be true or false, not {text!r}")


def _count(text: str) -> int:
    return _integer(text, 0, None)


def _positive(text: str) -> int:
    return _integer(text, 1, None)


def _port(text: str) -> int:
    return _integer(text, 0, 65535)


def _integer(text: str, minimum: int, maximum: int | None) -> int:
    bounds = f"at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
    if not (text.isascii() and text.isdigit() and minimum <= int(text) <= (maximum or int(text))):
        raise argparse.ArgumentTypeError(f"must be a whole number, {bounds}, not {text!r}")
    return int(text)
