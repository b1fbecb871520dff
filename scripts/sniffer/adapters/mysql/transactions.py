"""One process's connection to MySQL: transactions that are retried after transient errors, and errors in plain words.

A lost connection, a deadlock or a lock time-out repeats the transaction, for at most the settings' patience. Repeating
is safe because every write is an upsert on a natural key.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import ArgumentError, DBAPIError

from sniffer.core.errors import SettingsError
from sniffer.core.retry import Retry, RetryLater
from sniffer.core.settings import DatabaseSettings, without_password
from sniffer.core.text import one_line
from sniffer.core.variables import DATABASE_URL

_T = TypeVar("_T")

# Server and client error numbers of MySQL 8.4 and MariaDB 10.11.
_WRONG_SETTINGS = {
    1044: "access denied",
    1045: "access denied",
    1130: "this machine is not allowed to connect",
    1049: "unknown database",
    2005: "unknown host",
}
_TRANSIENT = frozenset(
    {
        1040,  # too many connections
        1053,  # server shutdown in progress
        1205,  # lock wait time-out
        1213,  # deadlock
        1290,  # read-only for the moment: a fail-over
        1836,  # the same, MySQL
        1927,  # connection was killed
        2002,  # cannot connect (socket or host)
        2003,  # cannot connect (TCP)
        2006,  # server has gone away
        2013,  # lost connection during query
        2055,  # the same, with errno
        4031,  # disconnected for inactivity
    }
)


class Transactions:
    """One process's connection to MySQL. Not shared between threads; opened on first use."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        try:
            self._engine: Engine = create_engine(
                settings.url,
                pool_size=1,
                max_overflow=0,
                pool_recycle=1800,
                # Gap locks of REPEATABLE READ would make concurrent consumers deadlock on neighbouring rows.
                isolation_level="READ COMMITTED",
                connect_args={"connect_timeout": 5, "read_timeout": 600, "write_timeout": 60},
            )
        except (ArgumentError, ValueError) as error:
            # The error's own text is left out: it may show a part of a password that was not percent-encoded.
            raise SettingsError(
                f"SNIFFER_DATABASE_URL cannot be parsed: {self.place!r}; it looks like {DATABASE_URL.example}, with "
                "user and password percent-encoded"
            ) from error

    def close(self) -> None:
        """Give the connection back; it can be used again afterwards."""
        self._engine.dispose()

    @property
    def place(self) -> str:
        """The URL without its password, for messages."""
        return without_password(self._settings.url)

    def transact(self, work: Callable[[Connection], _T], *, patience_s: float | None = None) -> _T:
        """Run `work` in a transaction, again after a transient error, for at most the patience.

        Raises SettingsError for what the user must change, TransientError when patience ends.
        """
        patience_s = self._settings.patience_s if patience_s is None else patience_s
        retry = Retry(f"MySQL at {self.place}", "check that it runs, then run again", patience_s)
        return retry.call(lambda: self._attempt(work))

    def _attempt(self, work: Callable[[Connection], _T]) -> _T:
        try:
            with self._engine.begin() as connection:
                return work(connection)
        except DBAPIError as error:
            reaction = self._reaction(error)
            if reaction is None:
                raise
            raise reaction from error

    def _reaction(self, error: DBAPIError) -> Exception | None:
        """What to raise in its place, if anything: RetryLater when the transaction should be tried again."""
        number = error_number(error)
        if number in _WRONG_SETTINGS:
            # The server's own text is left out: of a URL with an unquoted `@` it would show half the password.
            return SettingsError(
                f"MySQL at {self.place}: {_WRONG_SETTINGS[number]} (error {number}): check SNIFFER_DATABASE_URL, with "
                "the password percent-encoded"
            )
        if number == 1146:
            return SettingsError(f"MySQL at {self.place}: a table is missing ({_reason(error)}): run `sniffer migrate`")
        if error.connection_invalidated or number in _TRANSIENT:
            return RetryLater(_reason(error))
        return None


def error_number(error: DBAPIError) -> int | None:
    """MySQL's number of that error, if it has one."""
    arguments = getattr(error.orig, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else None


def _reason(error: DBAPIError) -> str:
    return one_line(f"{error_number(error)}: {error.orig.args[-1]}" if error.orig and error.orig.args else error.orig)


def utc_now() -> datetime:
    """This moment, as MySQL keeps it."""
    return naive_utc(datetime.now(UTC))


def naive_utc(moment: datetime) -> datetime:
    """MySQL's DATETIME has no zone; ours are always UTC."""
    return moment.astimezone(UTC).replace(tzinfo=None)
