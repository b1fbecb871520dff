"""The page of a registry over HTTP, and whether somebody has read it since its figures were the last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from sniffer.core.errors import SettingsError
from sniffer.core.settings import MetricsSettings
from sniffer.core.text import one_line

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

PATH = "/metrics"


class LastReading:
    """Waits, once the figures change no more, until somebody has been sent them, for at most `limit_s`."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._final = threading.Event()
        self._over = threading.Event()

    def concludes(self) -> None:
        """The figures are final: who asks from now on gets the last ones."""
        self._final.set()

    def wait(self) -> None:
        """Wait for a reader of the final figures; not at all while they are not."""
        if self._final.is_set():
            self._over.wait(self._limit_s)

    def give_up(self) -> None:
        """Wait no longer. Safe in a signal handler."""
        self._over.set()

    def begins(self) -> Callable[[], None]:
        """Somebody asks for the figures; what is returned is called when the answer has been sent."""
        return self._over.set if self._final.is_set() else lambda: None


class _Sent:
    """A body that says when the server is done with it."""

    def __init__(self, body: Iterable[bytes], done: Callable[[], None]) -> None:
        self._body = body
        self._done = done

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        self._done()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    timeout = 10.0  # of a peer that sends no request

    def log_message(self, *_: object) -> None:
        """A line for each scrape would bury the scan's own."""


@contextmanager
def served(
    registry: CollectorRegistry,
    settings: MetricsSettings,
    reading: LastReading,
    look: Callable[[], None] = lambda: None,
) -> Iterator[int]:
    """Serve the registry's page while the block runs; gives the port, which the settings may leave open with 0.

    Before each page `look` is called, for figures that are looked up when somebody asks.
    Raises SettingsError at once when the address cannot be had.
    """
    page = make_wsgi_app(registry)

    def answer(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != PATH:
            start("404 Not Found", [("Content-Type", "text/plain")])
            return [f"the metrics are at {PATH}\n".encode()]
        done = reading.begins()
        look()
        return _Sent(page(environ, start), done)

    try:
        server = make_server(settings.host, settings.port, answer, _Server, _Quiet)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that is none
        raise SettingsError(
            f"no metrics at {settings.host} port {settings.port} ({one_line(error)}): give another --metrics-port, 0 "
            "for a free one, or an address of this machine as --metrics-host"
        ) from error
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
