"""A private MySQL server for tests: the programs of local/mysql.sh, on the loopback, with one generated user."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from sniffer.core.errors import SettingsError
from sniffer_local.mariadb import QUICK, DatabaseSite, run_as, socket_path, write_initial_sql
from sniffer_local.processes import Child, Service, free_port, run_checked

SCRIPT = "local/mysql.sh"
INITIALISED = "mysql.ibd"
"""Of the data folder: written by --initialize."""


def mysql_folder(repository: Path) -> Path | None:
    """The folder of MYSQL_FOLDER, else .local/mysql of the checkout; None when there is no server in it."""
    folder = Path(os.environ.get("MYSQL_FOLDER") or repository / ".local" / "mysql").resolve()
    return folder if (folder / "root/usr/sbin/mysqld").is_file() else None


class MySql(Child):
    """A throw-away server for tests; start, stop, kill and restart keep its port and its data.

    It offers TLS with certificates of its own, and its users log in by caching_sha2_password: MySQL's defaults.
    """

    def __init__(self, programs: Path, folder: Path, *options: str) -> None:
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / "tmp").mkdir(exist_ok=True)
        mysqld = _mysqld(programs / "root")
        self.site = DatabaseSite(folder, free_port(), write_initial_sql(folder))
        if not (folder / "data" / INITIALISED).is_file():
            shutil.rmtree(folder / "data", ignore_errors=True)
            folders = (f"--datadir={folder / 'data'}", f"--tmpdir={folder / 'tmp'}")
            run_checked((*mysqld, *folders, "--initialize-insecure"), folder / "install.log")
        super().__init__(_service(mysqld, self.site, options))

    @property
    def url(self) -> str:
        """The server's SQLAlchemy URL, without a database."""
        return self.site.url()

    @property
    def port(self) -> int:
        """The server's TCP port on the loopback."""
        return self.site.port


def _service(mysqld: Sequence[str], site: DatabaseSite, options: Sequence[str]) -> Service:
    command = (
        *mysqld,
        f"--datadir={site.folder / 'data'}",
        f"--socket={socket_path(site.folder)}",
        f"--pid-file={site.folder / 'mysqld.pid'}",
        f"--tmpdir={site.folder / 'tmp'}",
        f"--init-file={site.folder / 'init.sql'}",
        "--bind-address=127.0.0.1",
        f"--port={site.port}",
        "--mysqlx=OFF",
        "--skip-name-resolve",
        "--secure-file-priv=NULL",
        "--skip-log-bin",
        "--innodb-buffer-pool-size=64M",
        "--innodb-flush-log-at-trx-commit=2",
        *QUICK,
        *options,
    )
    return Service("mysql", command, site.folder / "mysqld.log", site.answers)


def _mysqld(root: Path) -> tuple[str, ...]:
    """The start of its command: by the folder's own loader and libraries, which are newer than this system's."""
    loader = next(root.glob("usr/lib/*/ld-linux*.so.*"), None)
    if loader is None:
        raise SettingsError(f"{root} is not whole: remove it and run {SCRIPT} again")
    return (
        str(loader),
        "--library-path",
        str(loader.parent),
        str(root / "usr/sbin/mysqld"),
        "--no-defaults",
        *run_as(),
        f"--basedir={root / 'usr'}",
        f"--plugin-dir={root / 'usr/lib/mysql/plugin'}",
        f"--lc-messages-dir={root / 'usr/share/mysql'}",
    )
