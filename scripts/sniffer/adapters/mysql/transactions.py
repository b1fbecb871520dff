"""One process's connection to MySQL: transactions that are retried after transient errors, and errors in plain words.

Whatever is passing, or unknown, repeats the transaction, for at most the settings' patience, on a new connection unless
it was about a lock. Repeating is safe because every write is an upsert on a natural key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError

from sniffer.adapters.mysql.driver import IDLE_LIMIT_S, Connector, parse_address
from sniffer.adapters.mysql.errors import PACKET_NUMBERS, error_number, keeps_connection, packet_error, reaction
from sniffer.core.retry import Retry, not_counted
from sniffer.core.settings import DatabaseSettings

_T = TypeVar("_T")

MIGRATION_TIMEOUT_S = 24 * 3600
"""An ALTER TABLE of many million rows answers when it is done."""
_SMALLEST_LIMIT_BYTES = 1024
"""No server takes a smaller max_allowed_packet."""
_ESCAPED = (b"\0", b"\n", b"\r", b"\x1a", b'"', b"'", b"\\")
_AROUND_BYTES = len("_binary'',")


class Transactions:
    """One process's connection to MySQL. Not shared between threads; opened on first use.

    SettingsError when the URL cannot be parsed. An answer is awaited for `answer_limit_s`, by default for a third of
    the patience, between 5 and 60 s: a server that hangs is then left for a new connection. `on_retry` is called for
    each transaction that is repeated.
    """

    def __init__(
        self,
        settings: DatabaseSettings,
        *,
        answer_limit_s: int | None = None,
        on_retry: Callable[[], None] = not_counted,
    ) -> None:
        self._settings = settings
        self._on_retry = on_retry
        address = parse_address(settings.url)
        self._connector = Connector(address, answer_limit_s or int(min(60, max(5, settings.patience_s / 3))))
        self._engine: Engine = create_engine(
            address.url,
            pool_size=1,
            max_overflow=0,
            pool_recycle=IDLE_LIMIT_S - 20,
            # Every transaction here ends with a COMMIT or a ROLLBACK of its own; one more would cost a round trip.
            pool_reset_on_return=None,
            # Gap locks of REPEATABLE READ would make concurrent consumers deadlock on neighbouring rows.
            isolation_level="READ COMMITTED",
            # Parameters are object keys and scores: nothing for a traceback.
            hide_parameters=True,
        )
        event.listen(self._engine, "do_connect", self._connect)

    def _connect(self, _dialect: object, _record: object, _args: object, arguments: Mapping[str, object]) -> Any:
        return self._connector.connect(**arguments)

    def close(self) -> None:
        """Give the connection back; it can be used again afterwards."""
        self._engine.dispose()

    @property
    def place(self) -> str:
        """The URL without its password, for messages."""
        return str(self._settings.url)

    def transact(self, work: Callable[[Connection], _T], *, patience_s: float | None = None) -> _T:
        """Run `work` in a transaction, again after a transient error, for at most the patience.

        Raises SettingsError for what the user must change, ContractError for a statement that the server refuses,
        TransientError when patience ends.
        """
        patience_s = self._settings.patience_s if patience_s is None else patience_s
        retry = Retry(
            f"MySQL at {self.place}", "check that it runs, then run again", patience_s, on_retry=self._on_retry
        )
        return retry.call(lambda: self._attempt(work))

    def _attempt(self, work: Callable[[Connection], _T]) -> _T:
        try:
            with self._engine.begin() as connection:
                return work(connection)
        except DBAPIError as last:
            if not keeps_connection(last):
                self._engine.dispose()
            error = _first_of(last)
            problem = self._too_large(error) or reaction(error, self.place, was_connected=self._connector.was_connected)
        # Not from within the handler: the driver's error quotes what was stored, and would be in the traceback.
        raise problem

    def _too_large(self, error: DBAPIError) -> Exception | None:
        """The error of a statement above the server's max_allowed_packet, which may look like a lost connection."""
        number = error_number(error)
        sent_bytes = _size(error.params) + len(error.statement or "")
        if number not in PACKET_NUMBERS or (number != 1153 and sent_bytes < _SMALLEST_LIMIT_BYTES):
            return None
        try:
            with self._engine.connect() as connection:
                limit_bytes = int(connection.execute(text("SELECT @@max_allowed_packet")).scalar_one())
        except DBAPIError:
            return None
        return packet_error(self.place, sent_bytes, limit_bytes) if number == 1153 or sent_bytes > limit_bytes else None


def _first_of(error: DBAPIError) -> DBAPIError:
    """What went wrong first: a server that refuses a statement and hangs up lets the roll-back fail, too."""
    cause: BaseException | None = error
    while cause is not None and error.statement is None:
        cause = cause.__context__
        if isinstance(cause, DBAPIError):
            error = cause
    return error


def _size(parameters: object) -> int:
    """How many bytes the parameters take in a statement, each with what the driver puts around and into it."""
    if isinstance(parameters, str):
        return _size(parameters.encode(errors="surrogateescape"))
    if isinstance(parameters, bytes):
        return len(parameters) + sum(map(parameters.count, _ESCAPED)) + _AROUND_BYTES
    if isinstance(parameters, Mapping):
        return sum(_size(value) for value in parameters.values())
    if isinstance(parameters, list | tuple):
        return sum(_size(value) for value in parameters)
    return len(str(parameters)) + 1


def utc_now() -> datetime:
    """This moment, as MySQL keeps it."""
    return naive_utc(datetime.now(UTC))


def naive_utc(moment: datetime) -> datetime:
    """MySQL's DATETIME has no zone; ours are always UTC."""
    return moment.astimezone(UTC).replace(tzinfo=None)
