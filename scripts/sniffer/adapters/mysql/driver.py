"""How a connection to MySQL is opened: encrypted as the URL asks, in a session that does not depend on server settings.

The driver is mysqlclient over MariaDB's client library. Of that library, ssl_mode=REQUIRED logs in unencrypted where a
server offers no encryption; here it never does. Who verifies no certificate is safe from listeners, but not from a man
in the middle: no client can tell him from the server.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from sniffer.core.errors import SettingsError
from sniffer.core.redaction import SecretUrl
from sniffer.core.variables import DATABASE_URL

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5
SQL_MODE = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION"
_LOGIN_METHODS = ("caching_sha2_password", "sha256_password", "client_ed25519")
_SSL_FILES = ("ca", "cert", "key", "capath", "cipher")
# Earlier imports of the process (TensorFlow's BoringSSL) must not lend their symbols to OpenSSL's callers.
_OWN_SYMBOLS = os.RTLD_NOW | getattr(os, "RTLD_DEEPBIND", 0)
_TLS_ERROR = 2026


class TlsMode(StrEnum):
    """Values of ssl_mode in the URL, as MySQL's own clients name them."""

    DISABLED = "DISABLED"
    PREFERRED = "PREFERRED"
    REQUIRED = "REQUIRED"
    VERIFY_CA = "VERIFY_CA"
    VERIFY_IDENTITY = "VERIFY_IDENTITY"


_VERIFYING = (TlsMode.VERIFY_CA, TlsMode.VERIFY_IDENTITY)


@dataclass(frozen=True, slots=True)
class Address:
    """Where and how to connect: the URL without what concerns encryption, and that apart."""

    url: URL
    mode: TlsMode
    ssl: Mapping[str, str]


def parse_address(secret: SecretUrl) -> Address:
    """The address of a database URL. SettingsError for what cannot be parsed or is contradictory, without passwords."""
    try:
        url = make_url(secret.reveal())
        _ = url.port
    except (ArgumentError, ValueError):
        # The error's own text is left out: it may show a part of a password that was not percent-encoded.
        url = None
    if url is None:
        raise SettingsError(
            f"SNIFFER_DATABASE_URL cannot be parsed: {str(secret)!r}; it looks like {DATABASE_URL.example}, with "
            "user and password percent-encoded"
        )
    files = {name: str(url.query[f"ssl_{name}"]) for name in _SSL_FILES if f"ssl_{name}" in url.query}
    mode = _tls_mode(url, files)
    _check_query(url)
    ours = [name for name in url.query if name == "charset" or name.startswith("ssl")]
    return Address(url.difference_update_query(ours), mode, files)


def _tls_mode(url: URL, files: Mapping[str, str]) -> TlsMode:
    asked = str(url.query.get("ssl_mode", "")).upper()
    has_authority = "ca" in files or "capath" in files
    if not asked:
        return TlsMode.VERIFY_IDENTITY if has_authority else TlsMode.PREFERRED
    if asked not in set(TlsMode):
        raise SettingsError(f"SNIFFER_DATABASE_URL: ssl_mode must be one of {', '.join(TlsMode)}, not {asked!r}")
    mode = TlsMode(asked)
    if files and mode in (TlsMode.DISABLED, TlsMode.PREFERRED):
        raise SettingsError(f"SNIFFER_DATABASE_URL: ssl_mode={mode} and ssl_{next(iter(files))} contradict each other")
    return mode


def _check_query(url: URL) -> None:
    known = {"ssl_mode", *(f"ssl_{name}" for name in _SSL_FILES)}
    for name, value in url.query.items():
        if name.startswith("ssl") and name not in known:
            raise SettingsError(f"SNIFFER_DATABASE_URL: {name} is not known; there are {', '.join(sorted(known))}")
        if name == "charset" and value != "utf8mb4":
            raise SettingsError(f"SNIFFER_DATABASE_URL: charset must be utf8mb4, not {value!r}; or leave it out")
        if name in ("ssl_ca", "ssl_cert", "ssl_key") and not os.access(str(value), os.R_OK):
            raise SettingsError(f"SNIFFER_DATABASE_URL: {name}: cannot read the file {str(value)!r}")


@functools.cache
def load_driver() -> Any:
    """The module MySQLdb, loaded so that it and its login methods call OpenSSL, whatever else the process imports.

    The client library would load its login methods at the first login, and they would then take the first symbols of
    these names that the process holds: after `import tensorflow` those of BoringSSL, and logging in fails or crashes.
    """
    with _dlopen_flags(_OWN_SYMBOLS):
        module = importlib.import_module("MySQLdb")
    for folder in _plugin_folders():
        for method in _LOGIN_METHODS:
            if (file := folder / f"{method}.so").is_file():
                ctypes.CDLL(str(file), mode=_OWN_SYMBOLS)
    return module


@contextlib.contextmanager
def _dlopen_flags(flags: int) -> Iterator[None]:
    before = sys.getdlopenflags()
    sys.setdlopenflags(flags)
    try:
        yield
    finally:
        sys.setdlopenflags(before)


def _plugin_folders() -> list[Path]:
    """Where the loaded client library looks for login methods: beside itself, unless the environment says."""
    if given := os.environ.get("MARIADB_PLUGIN_DIR"):
        return [Path(given)]
    maps = Path("/proc/self/maps")
    lines = maps.read_text(encoding="utf-8", errors="replace").splitlines() if maps.is_file() else []
    libraries = {Path(line.split(maxsplit=5)[5]) for line in lines if "/libmariadb.so" in line}
    return [library.parent / "libmariadb3" / "plugin" for library in libraries]


IDLE_LIMIT_S = 120
"""A connection that says nothing for so long is closed by the server, and its transaction rolled back."""


class Connector:
    """Opens connections to one address. Once one was encrypted, no later one is unencrypted."""

    def __init__(self, address: Address, read_timeout_s: int) -> None:
        self._mode = address.mode
        self._driver = load_driver()
        self._always: dict[str, Any] = {
            "connect_timeout": CONNECT_TIMEOUT_S,
            "read_timeout": read_timeout_s,
            "write_timeout": read_timeout_s,
            "charset": "utf8mb4",
            # What a process that was frozen within a transaction has locked is free again after that.
            "init_command": f"SET SESSION wait_timeout = {IDLE_LIMIT_S}",
            "sql_mode": SQL_MODE,
            # Without it the server takes bytes for text and warns of each that is none.
            "binary_prefix": True,
        }
        if address.ssl:
            self._always["ssl"] = dict(address.ssl)
        self.was_connected = False

    def connect(self, **arguments: object) -> Any:
        """A connection with the arguments that SQLAlchemy makes of the URL. Raises the driver's errors."""
        connection = self._open({**arguments, **self._always})
        self.was_connected = True
        return connection

    def _open(self, arguments: dict[str, Any]) -> Any:
        if self._mode is TlsMode.DISABLED or (self._mode is TlsMode.PREFERRED and _by_socket(arguments)):
            return self._driver.connect(**arguments, ssl_mode=TlsMode.DISABLED.value)
        try:
            # Only when it verifies does the library refuse to log in to a server without encryption.
            connection = self._driver.connect(**arguments, ssl_mode=TlsMode.VERIFY_IDENTITY.value)
        except self._driver.OperationalError as error:
            refusal = error
        else:
            self._never_unencrypted()
            return connection
        return self._after(refusal, arguments)

    def _after(self, refusal: Exception, arguments: dict[str, Any]) -> Any:
        """What to do when a verified connection was refused: give up, be content with less, or do without."""
        number, text = refusal.args[0], str(refusal.args[-1])
        if number != _TLS_ERROR or self._mode in _VERIFYING:
            raise refusal
        if "does not support" in text or "doesn't support" in text:
            if self._mode is not TlsMode.PREFERRED:
                raise refusal
            host = arguments.get("host")
            if host not in ("127.0.0.1", "::1"):
                log.warning("MySQL at %s offers no encryption: passwords and keys can be read on the way", host)
            return self._driver.connect(**arguments, ssl_mode=TlsMode.DISABLED.value)
        if "erif" not in text and "ertificate" not in text:
            raise refusal
        # It offers encryption by a certificate that we need not verify (only its authority, when that is given).
        connection = self._driver.connect(**arguments, ssl_mode=TlsMode.REQUIRED.value)
        if not _is_encrypted(connection):
            connection.close()
            raise self._driver.OperationalError(_TLS_ERROR, "encryption is required, and the server did not use it")
        self._never_unencrypted()
        return connection

    def _never_unencrypted(self) -> None:
        if self._mode is TlsMode.PREFERRED:
            self._mode = TlsMode.REQUIRED


def _by_socket(arguments: Mapping[str, Any]) -> bool:
    return bool(arguments.get("unix_socket")) or arguments.get("host") in (None, "", "localhost")


def _is_encrypted(connection: Any) -> bool:
    connection.query("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
    rows = connection.store_result().fetch_row(maxrows=0)
    return bool(rows and rows[0][1])
