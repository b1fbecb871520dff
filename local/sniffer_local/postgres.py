"""A private PostgreSQL server in a folder of ours, for Airflow's own database: on a Unix socket, without passwords.

Who may connect is decided by the kernel's word on who asks (peer authentication): the user who runs the stack. As the
server refuses to run as root, it then runs as the user of Debian's package, `postgres`.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
import psycopg2

from sniffer.core.errors import SettingsError, TransientError
from sniffer_local.processes import Service, run_checked

ROLE = DATABASE = "airflow"
SERVER_USER = "postgres"
"""Whom the server runs as where we are root."""

DEBIAN_PROGRAMS = Path("/usr/lib/postgresql")
OUTSIDE = Path("/var/lib/sniffer-bot")
"""Where the data of a stack are whose own folder that user cannot enter, such as one below /root."""

CONNECT_TIMEOUT_S = 3
FAST_SHUTDOWN_S = 10.0
KILLED_S = 5.0
SOCKET_FILE = ".s.PGSQL.5432"


@dataclass(frozen=True, slots=True)
class PostgresSite:
    """Where one private server lives, which programs run it, and as whom; `user` is None for ourselves."""

    folder: Path
    programs: Path
    user: str | None

    @property
    def socket_folder(self) -> Path:
        """The folder of the server's socket: the site's, or one in /tmp when that path is too long for a socket."""
        inside = self.folder / "run"
        if len(str(inside / SOCKET_FILE)) < 100:
            return inside
        return Path("/tmp") / f"sniffer-{hashlib.sha256(bytes(self.folder)).hexdigest()[:16]}"

    def url(self, driver: str) -> str:
        """The SQLAlchemy URL of Airflow's database; it holds no secret."""
        return f"postgresql+{driver}://{ROLE}@/{DATABASE}?{urlencode({'host': str(self.socket_folder)}, safe='/')}"

    def answers(self) -> bool:
        """Whether the server accepts us."""
        try:
            self._connect("postgres").close()
        except psycopg2.OperationalError:
            return False
        return True

    def create_database(self) -> bool:
        """Create Airflow's database unless it is there; True if it was created."""
        connection = self._connect("postgres")
        try:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
            if cursor.fetchone():
                return False
            cursor.execute(f"CREATE DATABASE {DATABASE}")
            return True
        finally:
            connection.close()

    def _connect(self, database: str) -> Any:
        return psycopg2.connect(
            host=str(self.socket_folder), user=ROLE, dbname=database, connect_timeout=CONNECT_TIMEOUT_S
        )


def prepare_site(folder: Path) -> PostgresSite:
    """Create the data where they are missing; idempotent, keeps data.

    Raises SettingsError when PostgreSQL is missing, or only of another major version than the data are of.
    """
    user = SERVER_USER if os.geteuid() == 0 else None
    folder = _enterable(folder, user)
    site = PostgresSite(folder, _programs(folder / "data"), user)
    _own(site.socket_folder, user)
    (folder / "pg_hba.conf").write_text("local all all peer map=stack\n")
    (folder / "pg_ident.conf").write_text(f"stack {_account()} {ROLE}\n")
    if not (folder / "data").is_dir():
        _initialise(site)
    return site


def postgres_service(site: PostgresSite, log: Path) -> Service:
    """The server over a prepared site. A power cut may cost it a second, a crash nothing."""
    options = {
        "listen_addresses": "",
        "unix_socket_directories": str(site.socket_folder),
        "unix_socket_permissions": "0777",  # the folder around it lets nobody else in, and the server asks the kernel
        "hba_file": str(site.folder / "pg_hba.conf"),
        "ident_file": str(site.folder / "pg_ident.conf"),
        "shared_buffers": "64MB",
        "synchronous_commit": "off",
        "max_connections": "100",
    }
    flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    return Service(
        "postgres",
        (str(site.programs / "postgres"), "-D", str(site.folder / "data"), *flags),
        log,
        site.answers,
        address=str(site.socket_folder),
        user=site.user,
        stop_signal=signal.SIGINT,  # at SIGTERM it would wait for the last client to leave
        before_start=lambda: clear_way(site),
    )


def clear_way(site: PostgresSite) -> None:
    """End what is left of a server whose first process was killed, and remove locks that name somebody else's process.

    Its other processes, each in a session of its own, may go on for as long as their queries take, and no server starts
    over memory that they share. A lock keeps it from starting, too, when any process has the number that is in it.
    """
    left = _processes_of(site)
    for process in left:
        if process.pid == _locked_by(site.folder / "data" / "postmaster.pid"):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGINT)
            psutil.wait_procs([process], FAST_SHUTDOWN_S)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _, alive = psutil.wait_procs(left, KILLED_S)
    if alive:
        raise TransientError(f"processes {[p.pid for p in alive]} of an earlier PostgreSQL do not end: kill them")
    for lock in (site.folder / "data" / "postmaster.pid", site.socket_folder / f"{SOCKET_FILE}.lock"):
        # One that names nobody is left to the server, which then sees to the memory as well.
        if lock.exists() and ((pid := _locked_by(lock)) is None or psutil.pid_exists(pid)):
            lock.unlink()


def _processes_of(site: PostgresSite) -> list[psutil.Process]:
    """What runs the server's program in the folder of its data, where its processes stay all their life."""
    data, found = str((site.folder / "data").resolve()), []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            program = os.readlink(f"/proc/{process.pid}/exe").removesuffix(" (deleted)")
            if Path(program).name == "postgres" and process.cwd() == data:
                found.append(process)
    return found


def _locked_by(lock: Path) -> int | None:
    """The process that a lock names: its first line, negative for a server of one user; None without a number."""
    try:
        return abs(int(lock.read_text().partition("\n")[0]))
    except (FileNotFoundError, ValueError):
        return None


def _account() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise SettingsError(
            f"the user {os.geteuid()} has no name in /etc/passwd, without which PostgreSQL lets nobody in: add one"
        ) from None


def _enterable(folder: Path, user: str | None) -> Path:
    """The folder, made, or one below /var/lib that stands for it where that user cannot enter it."""
    if folder.is_symlink() and not folder.exists():
        folder.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    if user is None:
        return folder.resolve()
    _account_of(user)
    folder.resolve().chmod(0o755)
    if _can_enter(folder.resolve(), user):
        return folder.resolve()
    OUTSIDE.mkdir(parents=True, exist_ok=True)
    outside = Path(tempfile.mkdtemp(prefix="postgres-", dir=OUTSIDE))
    for made in (OUTSIDE, outside):
        made.chmod(0o755)
    if not _can_enter(outside, user):
        raise SettingsError(f"the user {user} can enter neither {folder} nor {outside}: let it pass their parents")
    folder.rmdir()
    folder.symlink_to(outside)
    return outside


def _can_enter(folder: Path, user: str) -> bool:
    done = subprocess.run(("test", "-x", str(folder)), cwd="/", user=user, group=user, extra_groups=[], check=False)
    return done.returncode == 0


def _account_of(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise SettingsError(
            f"PostgreSQL does not run as root, and there is no user {user}: run `make setup`, or apt-get install "
            "postgresql"
        ) from None


def _own(folder: Path, user: str | None) -> None:
    """Make the folder and give it to the server's user alone; raises SettingsError when it is somebody else's."""
    folder.mkdir(exist_ok=True, mode=0o700)
    owner = os.geteuid() if user is None else _account_of(user).pw_uid
    if folder.is_symlink() or folder.stat().st_uid not in (owner, os.geteuid()):
        raise SettingsError(f"{folder} is somebody else's: remove it")
    os.chown(folder, owner, -1)
    folder.chmod(0o700)


def _programs(data: Path) -> Path:
    """The folder of the server's programs: of the version that the data are of, or the newest."""
    installed = {
        int(found.parents[1].name): found.parent
        for found in DEBIAN_PROGRAMS.glob("*/bin/postgres")
        if found.parents[1].name.isdigit()
    }
    if (on_path := shutil.which("postgres")) and not installed:
        folder = Path(on_path).resolve().parent
        installed[_major(folder)] = folder
    if not installed:
        raise SettingsError("PostgreSQL is not installed; run `make setup` as root, or apt-get install postgresql")
    if not data.is_dir():
        return installed[max(installed)]
    wanted = int((data / "PG_VERSION").read_text())
    if wanted not in installed:
        raise SettingsError(
            f"{data} was written by PostgreSQL {wanted}, and installed is {max(installed)}: install "
            f"postgresql-{wanted}, or remove {data.parent}, and with it the list of Airflow's past runs; results of "
            "scans are in MariaDB and stay"
        )
    return installed[wanted]


def _major(programs: Path) -> int:
    said = subprocess.run((programs / "postgres", "--version"), capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+", said)
    if found is None:
        raise SettingsError(f"{programs / 'postgres'} does not say its version: {said!r}")
    return int(found[0])


def _initialise(site: PostgresSite) -> None:
    draft = site.folder / "data.new"
    shutil.rmtree(draft, ignore_errors=True)
    _own(draft, site.user)
    command = (
        str(site.programs / "initdb"),
        f"--pgdata={draft}",
        f"--username={ROLE}",
        "--auth=reject",  # replaced by our own file at each start
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--no-sync",
        "--no-instructions",
    )
    run_checked(command, site.folder / "install.log", user=site.user)
    draft.rename(site.folder / "data")
