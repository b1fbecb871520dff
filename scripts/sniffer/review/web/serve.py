"""`sniffer review serve`: the review page as a process of its own."""

from __future__ import annotations

import argparse
import contextlib
import logging
import socket
import sys
from collections.abc import Iterator

import uvicorn

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.s3.bucket import Bucket
from sniffer.adapters.s3.locations import open_bucket
from sniffer.core.errors import SettingsError
from sniffer.core.parser import Parser, count
from sniffer.core.program import Program
from sniffer.core.review_settings import LOOPBACK, ReviewSettings, review_settings
from sniffer.core.settings import DatabaseSettings, database_settings, fetch_settings, image_settings
from sniffer.core.variables import MAX_PORT, S3_ENVIRONMENT
from sniffer.decoding.process import open_decoder
from sniffer.review.keeping import ImageKeeper
from sniffer.review.signatures import coop_key
from sniffer.review.web.app import make_app
from sniffer.review.web.oidc import OidcProvider
from sniffer.review.web.parts import ReviewParts
from sniffer.review.web.pictures import PictureSource
from sniffer.review.web.pool import DatabasePool
from sniffer.review.web.preparing import Preparing

log = logging.getLogger(__name__)

DEFAULT_PORT = 8090
_DECODERS = 2
_PATIENCE_S = 10.0
"""How long a request waits for a MySQL that is away: a person waits with it."""
_LAST_REQUESTS_S = 3


def _add_arguments(parser: Parser) -> None:
    parser.add_argument("--host", default=LOOPBACK[0], metavar="ADDRESS", help="address to listen on")
    parser.add_argument(
        "--port", type=count, default=DEFAULT_PORT, metavar="N", help="port to listen on; 0: a free one"
    )


def _run(arguments: argparse.Namespace) -> int:
    if arguments.port > MAX_PORT:
        raise SettingsError(f"--port must be from 0 to {MAX_PORT}, not {arguments.port}")
    database = database_settings()
    with _bound(arguments.host, arguments.port) as listener:
        settings = review_settings(arguments.host, listener.getsockname()[1])
        if settings.coop_key:
            _check_coop_key(settings.coop_key)
        with Database(DatabaseSettings(database.url, 0.0)) as asked:
            asked.check()
            if not asked.review_accounts.all() and settings.oidc is None:
                log.warning("there is no account yet: `sniffer review account add NAME --role lead` makes one")
        _serve(settings, DatabaseSettings(database.url, min(database.patience_s, _PATIENCE_S)), listener)
    return 0


def _check_coop_key(text: str) -> None:
    """Now, rather than when the first message comes."""
    try:
        coop_key(text)
    except SettingsError as error:
        raise SettingsError(f"SNIFFER_REVIEW_COOP_KEY: {error}") from error


def _serve(settings: ReviewSettings, database: DatabaseSettings, listener: socket.socket) -> None:
    limits, fetch = image_settings(), fetch_settings()

    def open_it(name: str) -> Bucket:
        return open_bucket(name, fetch, limits.max_bytes)

    with contextlib.ExitStack() as stack:
        decoders = [stack.enter_context(open_decoder(limits)) for _ in range(_DECODERS)]
        pictures = PictureSource(open_it, decoders)
        pool = DatabasePool(database)
        stack.callback(pool.close)
        oidc = None
        if settings.oidc is not None:
            oidc = OidcProvider(settings.oidc, f"{settings.url}/login/oidc/done")
        keeper = ImageKeeper(settings.keep_to, open_it, fetch) if settings.keep_to else None
        preparing = Preparing(database, pictures, keeper=keeper)
        preparing.start()
        stack.callback(preparing.stop)
        config = uvicorn.Config(
            make_app(ReviewParts(settings, pool, pictures, oidc, keeper=keeper)),
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.proxies),
            forwarded_allow_ips=list(settings.proxies),
            timeout_graceful_shutdown=_LAST_REQUESTS_S,
        )
        log.info("the review page is at %s", settings.url)
        _Server(config).run([listener])
        log.info("ended")


class _Server(uvicorn.Server):
    """Uvicorn's server, which is told to end by SIGTERM or Ctrl-C, and does so without raising them again."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals end it cleanly, and the program with status 0."""
        import signal

        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _bound(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SettingsError(f"cannot listen on {host} port {port}: {error.strerror}; choose another --port") from error
    return listener


PROGRAM = Program(
    command="sniffer review serve",
    summary="Serve the review page: flagged images come before people, blurred, one at a time or near-duplicates "
    "together, and what they decide is stored. It listens on this machine alone unless --host says otherwise; for "
    "others, put a proxy with TLS before it, and name its address in SNIFFER_REVIEW_URL. It may run several times.",
    run=_run,
    add_arguments=_add_arguments,
    examples=(
        "sniffer review serve",
        "SNIFFER_REVIEW_URL=https://review.example.com sniffer review serve --host 0.0.0.0 --port 8090",
    ),
    environment=(
        "SNIFFER_DATABASE_URL",
        "SNIFFER_DATABASE_PATIENCE_S",
        *S3_ENVIRONMENT,
        "SNIFFER_MAX_IMAGE_BYTES",
        "SNIFFER_MAX_IMAGE_PIXELS",
        "SNIFFER_DECODE_CPU_S",
        "SNIFFER_DECODE_MEMORY_BYTES",
        "SNIFFER_REVIEW_URL",
        "SNIFFER_REVIEW_PROXIES",
        "SNIFFER_REVIEW_LEASE_S",
        "SNIFFER_REVIEW_BREAK_AFTER",
        "SNIFFER_REVIEW_SECOND_SHARE",
        "SNIFFER_REVIEW_SECOND_SECRET",
        "SNIFFER_REVIEW_WEBHOOK_SECRET",
        "SNIFFER_REVIEW_COOP_KEY",
        "SNIFFER_REVIEW_KEEP_TO",
        "SNIFFER_REVIEW_OIDC_ISSUER",
        "SNIFFER_REVIEW_OIDC_CLIENT_ID",
        "SNIFFER_REVIEW_OIDC_CLIENT_SECRET",
        "SNIFFER_REVIEW_OIDC_NAME_CLAIM",
        "SNIFFER_REVIEW_OIDC_ROLE_CLAIM",
        "SNIFFER_REVIEW_OIDC_ROLES",
        "SNIFFER_LOG_FORMAT",
    ),
    extra="review",
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
