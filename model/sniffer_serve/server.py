"""The model server: `sniffer serve`, TensorFlow Serving's REST API for machines without TF Serving.

Flags in; versions loaded, warmed up and watched; the port opens once every model is served; SIGTERM ends it cleanly.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from sniffer.core.errors import SettingsError
from sniffer.core.program import Program
from sniffer_serve.app import RestApi
from sniffer_serve.config import ModelEntry, read_model_config
from sniffer_serve.flags import DESCRIPTION, ServeSettings, add_arguments, serve_settings
from sniffer_serve.manager import ModelManager, WatchSettings

if TYPE_CHECKING:
    from sniffer_serve.servable import Servable

log = logging.getLogger(__name__)

_LOOK_S = 0.1
"""How often the main thread looks whether it should end while models load."""
_BACKLOG = 1024
_IDLE_CONNECTION_S = 3600
_LAST_REQUESTS_S = 3
"""How long requests that are under way at SIGTERM may take."""


def _run(arguments: argparse.Namespace) -> int:
    return _serve(serve_settings(arguments))


PROGRAM = Program(
    command="sniffer serve",
    summary=DESCRIPTION,
    run=_run,
    add_arguments=add_arguments,
    examples=(
        "sniffer serve --rest_api_port=8501 --model_name=drug_detector --model_base_path=models/drug_detector",
        "sniffer serve --rest_api_port=8501 --model_config_file=models.config --model_config_file_poll_wait_seconds=1",
    ),
    environment=("SNIFFER_LOG_FORMAT",),
    extra="trainer",
)


main = PROGRAM.main


def _serve(settings: ServeSettings) -> int:
    entries = _model_entries(settings)
    # Bound now, so that a port that is taken is told at once; it refuses connections until the server listens.
    with _bound_socket(settings) as listener:
        manager = _model_manager(settings, entries)
        # Not before TensorFlow is imported: until then the signals' own effect is quicker, and just as clean.
        ending = _end_on_signals()
        manager.start()
        if not _wait_until_ready(manager, ending):
            return _end(manager, 0 if ending.is_set() else 1)
        _listen(listener, settings)
        is_idle = _answer_requests(settings, manager, listener, ending)
        broken = not manager.alive
    return _end(manager, 1 if broken else 0, is_idle=is_idle)


def _model_entries(settings: ServeSettings) -> list[ModelEntry]:
    if settings.model_config_file is not None:
        return read_model_config(settings.model_config_file)
    if settings.model_base_path is None:
        raise SettingsError("give --model_base_path or --model_config_file")
    return [ModelEntry(settings.model_name, settings.model_base_path)]


def _end_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set."""
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    return ending


def _bound_socket(settings: ServeSettings) -> socket.socket:
    address = (settings.rest_api_host, settings.rest_api_port)
    family = socket.AF_INET6 if ":" in settings.rest_api_host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _port_error(settings, error) from error
    return listener


def _listen(listener: socket.socket, settings: ServeSettings) -> None:
    try:
        listener.listen(_BACKLOG)
    except OSError as error:  # two servers that start together can both be bound
        raise _port_error(settings, error) from error


def _port_error(settings: ServeSettings, error: OSError) -> SettingsError:
    where = f"{settings.rest_api_host} port {settings.rest_api_port}"
    return SettingsError(f"cannot listen on {where}: {error.strerror}; choose another --rest_api_port")


def _model_manager(settings: ServeSettings, entries: Sequence[ModelEntry]) -> ModelManager[Servable]:
    config_file = settings.model_config_file
    watch = WatchSettings(
        settings.file_system_poll_s,
        settings.model_config_poll_s,
        settings.retry,
        settings.allow_labels_for_unavailable,
    )
    read_config = None if config_file is None else lambda: read_model_config(config_file)
    return ModelManager(entries, _loader(settings), watch, read_config=read_config, after_change=_settle_memory)


def _loader(settings: ServeSettings) -> Callable[[Path], Servable]:
    """What turns a version's folder into a warmed-up servable."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # TensorFlow imports Keras on its way, and Keras half of the scientific stack: half of the start's time. A server
    # of SavedModels needs no Keras, and a TensorFlow that is told to use the old one does not find it and goes on.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    # What TensorFlow's import makes stays: the collector finds nothing in it, and takes a fifth of its time to look.
    gc.disable()
    # Imported here: TensorFlow takes seconds, and a wrong flag or --help should not.
    import tensorflow as tf

    from sniffer_serve.servable import RunSettings, load_servable
    from sniffer_serve.warmup import warm_up

    gc.enable()
    tf.get_logger().setLevel(logging.ERROR)
    run = RunSettings(settings.intra_op_threads, settings.inter_op_threads, settings.rest_api_timeout_s)

    def load(folder: Path) -> Servable:
        servable = load_servable(folder, run)
        try:
            records = warm_up(servable, folder, settings.warm_up_iterations) if settings.warm_up_iterations else 0
        except BaseException:
            servable.close()
            raise
        log.info("loaded %s and replayed %d warm-up records", folder, records)
        return servable

    return load


def _settle_memory() -> None:
    """Collect what a load or unload left behind, then take all that is left out of the collector's sight.

    TensorFlow leaves millions of tracked objects. A full collection walks them for a quarter of a second, and parsing
    large bodies would set one off every few requests.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _wait_until_ready(manager: ModelManager[Servable], ending: threading.Event) -> bool:
    while not manager.wait_until_ready(_LOOK_S):
        if ending.is_set() or not manager.alive:
            return False
    return not ending.is_set()


class _HttpServer(uvicorn.Server):
    """Uvicorn's server, which also says when it is ready, and ends when `should_end` says so."""

    def __init__(self, config: uvicorn.Config, address: str, should_end: Callable[[], bool]) -> None:
        super().__init__(config)
        self._address = address
        self._should_end = should_end

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the program, which knows what to do when they come again."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the port and announce it in TensorFlow Serving's words."""
        await super().startup(sockets)
        log.info("Exporting HTTP/REST API at:%s ...", self._address)

    async def on_tick(self, counter: int) -> bool:
        """Whether to end, asked ten times a second."""
        return await super().on_tick(counter) or self._should_end()


def _answer_requests(
    settings: ServeSettings, manager: ModelManager[Servable], listener: socket.socket, ending: threading.Event
) -> bool:
    """Answer until a signal, or until the manager has died; returns whether no request is left under way."""
    executor = ThreadPoolExecutor(settings.rest_api_threads, "request")
    try:
        config = uvicorn.Config(
            RestApi(manager.models, executor, settings.predict_concurrency, settings.rest_api_timeout_s),
            lifespan="off",
            ws="none",
            log_config=None,
            log_level=logging.WARNING,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_IDLE_CONNECTION_S,
            timeout_graceful_shutdown=_LAST_REQUESTS_S,
        )
        address = f"{settings.rest_api_host}:{settings.rest_api_port}"
        _HttpServer(config, address, lambda: ending.is_set() or not manager.alive).run([listener])
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
    last = threading.Thread(target=executor.shutdown, daemon=True)
    last.start()
    last.join(_LOOK_S)
    return not last.is_alive()


def _end(manager: ModelManager[Servable], status: int, *, is_idle: bool = True) -> int:
    is_loading = not manager.stop(timeout_s=1.0)
    if is_loading or not is_idle:
        # Nothing can interrupt a load or TensorFlow's work on a request, and Python would wait for it.
        log.info("ending while %s", "a version is being loaded" if is_loading else "requests are being computed")
        logging.shutdown()
        os._exit(status)
    log.info("ended")
    return status


if __name__ == "__main__":
    sys.exit(main())
