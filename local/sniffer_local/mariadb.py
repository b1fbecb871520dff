"""A private MariaDB server in a folder of ours: on the loopback, with one generated user."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sniffer.adapters.mysql.driver import load_driver
from sniffer.core.errors import SettingsError
from sniffer.core.files import write_text
from sniffer_local.processes import Child, Service, free_port, run_checked

if TYPE_CHECKING:
    from MySQLdb.connections import Connection

USER = "sniffer"
SYSTEM_TABLES = "mysql/global_priv.MAD"
CONNECT_TIMEOUT_S = 3


@dataclass(frozen=True, slots=True)
class DatabaseSite:
    """Where one private server (MariaDB or MySQL) lives and how it is reached. The password is in 0600 files only."""

    folder: Path
    port: int
    password: str

    def __repr__(self) -> str:
        return f"DatabaseSite(folder={str(self.folder)!r}, port={self.port})"

    def url(self, database: str = "") -> str:
        """The SQLAlchemy URL of a database on this server."""
        return f"mysql+mysqldb://{USER}:{self.password}@127.0.0.1:{self.port}/{database}?charset=utf8mb4"

    def execute(self, *statements: str) -> None:
        """Run statements as our user, each committed; raises the driver's Error when one fails."""
        connection = self._connect()
        try:
            for statement in statements:
                connection.query(statement)
        finally:
            connection.close()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of one query, as our user."""
        connection = self._connect()
        try:
            connection.query(query)
            return list(connection.store_result().fetch_row(maxrows=0))
        finally:
            connection.close()

    def answers(self) -> bool:
        """Whether the server accepts our user."""
        try:
            self._connect().close()
        except load_driver().OperationalError:
            return False
        return True

    def _connect(self) -> Connection:
        # Loaded as the programs do it: with TensorFlow in the process, a plain import cannot log in to MySQL.
        return load_driver().connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=self.password,
            connect_timeout=CONNECT_TIMEOUT_S,
            autocommit=True,
        )


def prepare_site(folder: Path, port: int) -> DatabaseSite:
    """Create data, password and start-up SQL where they are missing; idempotent, keeps data and password."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / "tmp").mkdir(exist_ok=True)
    site = DatabaseSite(folder, port, write_initial_sql(folder))
    if not (folder / "data" / SYSTEM_TABLES).is_file():
        _install(folder)
    return site


QUICK = ("--innodb-flush-method=nosync", "--skip-innodb-doublewrite")
"""Leaves it to the system when to write to the disk, which makes migrations five times as fast."""


def mariadb_service(site: DatabaseSite, log: Path, *options: str, durable: bool = True) -> Service:
    """The server over a prepared site. Without `durable` a power cut may cost its data, a crash of it nothing."""
    command = (
        _program("mariadbd"),
        "--no-defaults",
        *run_as(),
        f"--datadir={site.folder / 'data'}",
        f"--socket={socket_path(site.folder)}",
        f"--pid-file={site.folder / 'mariadbd.pid'}",
        # Its own, since a server that starts removes what others have left of temporary tables, or are at.
        f"--tmpdir={site.folder / 'tmp'}",
        f"--init-file={site.folder / 'init.sql'}",
        "--bind-address=127.0.0.1",
        f"--port={site.port}",
        "--skip-name-resolve",
        "--character-set-server=utf8mb4",
        "--innodb-buffer-pool-size=" + ("128M" if durable else "64M"),
        "--innodb-flush-log-at-trx-commit=" + ("1" if durable else "2"),
        "--max-allowed-packet=64M",
        "--performance-schema=OFF",
        *(() if durable else QUICK),
        *options,
    )
    return Service("mariadb", command, log, site.answers, address=f"127.0.0.1:{site.port}")


class MariaDb(Child):
    """A throw-away server; start, stop, kill, restart keep its port and its data. `durable`: as mariadb_service()."""

    def __init__(self, folder: Path, *options: str, durable: bool = False) -> None:
        self.site = prepare_site(folder, free_port())
        super().__init__(mariadb_service(self.site, folder / "mariadbd.log", *options, durable=durable))

    @property
    def url(self) -> str:
        """The server's SQLAlchemy URL, without a database."""
        return self.site.url()

    @property
    def port(self) -> int:
        """The server's TCP port on the loopback."""
        return self.site.port


def create_database(site: DatabaseSite, name: str) -> str:
    """Create the database unless it is there, and return its URL. Its name is of letters, digits and _."""
    site.execute(f"CREATE DATABASE IF NOT EXISTS `{_checked_name(name)}` CHARACTER SET utf8mb4")
    return site.url(name)


def drop_database(site: DatabaseSite, name: str) -> None:
    """Drop the database with all it holds."""
    site.execute(f"DROP DATABASE IF EXISTS `{_checked_name(name)}`")


def _checked_name(name: str) -> str:
    if not re.fullmatch(r"\w{1,64}", name, re.ASCII):
        raise SettingsError(f"a database's name is of letters, digits and underscores, at most 64, not {name!r}")
    return name


def _install(folder: Path) -> None:
    shutil.rmtree(folder / "data", ignore_errors=True)
    command = (
        _program("mariadb-install-db"),
        "--no-defaults",
        f"--datadir={folder / 'data'}",
        f"--tmpdir={folder / 'tmp'}",  # as the server's: two installations side by side would break each other
        "--auth-root-authentication-method=socket",
        "--skip-test-db",
        "--innodb-flush-log-at-trx-commit=0",
        *run_as(),
    )
    run_checked(command, folder / "install.log")


def write_initial_sql(folder: Path) -> str:
    """Write the SQL that makes our user, which a server runs at its start, into `init.sql`; returns the password."""
    password = _kept_password(folder / "password")
    write_text(folder / "init.sql", _initial_sql(password), private=True)
    return password


def _initial_sql(password: str) -> str:
    """Run by the server at each start, so a start that was cut short is made good by the next."""
    account = f"'{USER}'@'127.0.0.1'"
    return (
        f"CREATE USER IF NOT EXISTS {account};\n"
        f"ALTER USER {account} IDENTIFIED BY '{password}';\n"
        f"GRANT ALL PRIVILEGES ON *.* TO {account} WITH GRANT OPTION;\n"
        "DROP USER IF EXISTS ''@'localhost';\n"
    )


def _kept_password(file: Path) -> str:
    if not file.is_file():
        write_text(file, secrets.token_urlsafe(24), private=True)
    return file.read_text(encoding="ascii").strip()


def run_as() -> tuple[str, ...]:
    """The server's flag that says which user to be, where it needs one."""
    # As root the server refuses to start unless told which user to be; the folder is ours, so is the server.
    return ("--user=root",) if os.geteuid() == 0 else ()


def socket_path(folder: Path) -> Path:
    """In the site's folder, or in /tmp when that path is too long for a socket's address (107 bytes)."""
    inside = folder / "server.sock"
    if len(str(inside)) < 100:
        return inside
    return Path("/tmp") / f"sniffer-{hashlib.sha256(bytes(folder)).hexdigest()[:16]}.sock"


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if found is None:
        raise SettingsError(f"{name} is not installed; run `make setup` as root, or apt-get install mariadb-server")
    return found
