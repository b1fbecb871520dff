"""What an error of MySQL means: whether to try again, on which connection, or what somebody has to change.

The numbers are those of MySQL 8.4 and 9.7, MariaDB from 10.11 on, and the client library. A server's text may quote
what was stored (object keys, URLs with half a password), so only texts that are known not to are shown whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError

from sniffer.core.errors import ContractError, SettingsError, SnifferError
from sniffer.core.retry import RetryLater
from sniffer.core.text import one_line

NO_SUCH_TABLE = 1146
DISK_FULL = "its disk or tablespace is full"
PACKET_NUMBERS = frozenset({1153, 2006, 2013, 2020, 2055, 5014})
"""How a statement above max_allowed_packet ends: by its name, or, since the server hangs up, as a lost connection."""

_LOCKS = {
    1020: "the row was changed meanwhile",
    1205: "lock wait time-out",
    1206: "the lock table is full",
    1213: "deadlock",
    1223: "a lock for reading, such as a backup's, is held",
    1412: "the table was altered meanwhile",
    1613: "rolled back: time-out",
    1614: "rolled back: deadlock",
    1615: "the statement has to be prepared again",
    1637: "too many transactions at the same time",
    1689: "the wait for a lock was ended",
    3058: "deadlock",
    3572: "the lock is held",
    4045: "the transaction was rolled back",
}
"""Passing, and no fault of the connection."""

_PASSING = {
    1021: DISK_FULL,
    1028: "its sort was ended",
    1037: "it is out of memory",
    1038: "it is out of memory for sorting",
    1040: "too many connections",
    1041: "it is out of memory",
    1042: "it cannot resolve this machine's name",
    1043: "bad handshake",
    1047: "the node is not ready (cluster)",
    1053: "it is shutting down",
    1078: "it got a signal and ends",
    1079: "it is shutting down",
    1080: "it closed the connection",
    1114: DISK_FULL,
    1129: "it blocks this machine after too many connection errors: FLUSH HOSTS lifts that",
    1135: "it cannot create a thread",
    1152: "it aborted the connection",
    1156: "network error",
    1157: "network error",
    1158: "network error while reading",
    1159: "network time-out while reading",
    1160: "network error while writing",
    1161: "network time-out while writing",
    1180: "the commit failed",
    1181: "the roll-back failed",
    1184: "it aborted the connection",
    1203: "the user has too many connections",
    1226: "the user is over a limit of resources",
    1290: "it is read-only",
    1297: "temporary error of the storage engine",
    1317: "the query was interrupted",
    1792: "the transaction is read-only",
    1836: "it is read-only",
    1927: "the connection was killed",
    1969: "the query took longer than the server allows",
    2002: "cannot connect",
    2003: "cannot connect",
    2004: "cannot connect",
    2006: "it has gone away",
    2012: "it ended the handshake",
    2013: "the connection was lost",
    2014: "the connection is out of step",
    2027: "its answer was malformed",
    2055: "the connection was lost",
    3024: "the query took longer than the server allows",
    3032: "it is in offline mode",
    3092: "it is no active member of its group",
    3100: "replication refused the commit",
    3101: "replication rolled the transaction back",
    3168: "it is not available",
    3169: "the session was killed",
    3675: DISK_FULL,
    4031: "it ended an idle connection",
    4082: "it is out of memory for connections",
    4083: "the connection is over its memory limit",
    5013: "the connection was lost while reading",
    5014: "the connection was lost while writing",
}
"""Passing, and worth a new connection: after a fail-over the name leads to another server."""

_WRONG_SETTINGS = {
    1044: "access denied to this database",
    1045: "access denied",
    1049: "unknown database",
    1130: "this machine is not allowed to connect",
    1131: "anonymous users may not do this",
    1251: "the login method of this user needs a newer client",
    1524: "the server has no such login method",
    1698: "access denied",
    1820: "the password has to be changed first",
    1862: "the password has expired",
    2005: "unknown host",
    2058: "the login method of this user is not there",
    2059: "the login method of this user cannot be loaded",
    2061: "the login failed",
    3118: "the account is locked",
    3159: "the server takes encrypted connections only; leave ssl_mode out of the URL, or make it REQUIRED",
    3955: "the account is locked",
    4151: "the account is locked",
}
_LACKING_RIGHTS = frozenset({1142, 1143, 1227, 1370, 1356, 1410, 1449, 3530, 3879})
_WRONG_SERVER_SETTINGS = {
    1046: "no database in SNIFFER_DATABASE_URL: it looks like mysql+mysqldb://user:password@host/database",
    1419: "the server wants log_bin_trust_function_creators=1",
    1665: "the server's binlog_format must be ROW or MIXED",
}
_OTHER_SCHEMA = frozenset({1054, NO_SUCH_TABLE, 1305})
_REFUSED = (DataError, IntegrityError, NotSupportedError, ProgrammingError)
_NAME_SERVER_IS_AWAY = "(-3)"
_TLS_ERROR = 2026
_CERTIFICATE = re.compile(r"certificate|verif|host ?name|support|is required|version|cipher|no such file", re.I)


def error_number(error: DBAPIError) -> int | None:
    """MySQL's number of that error, if it has one."""
    arguments = getattr(error.orig, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else None


def keeps_connection(error: DBAPIError) -> bool:
    """Whether the transaction may be tried again on the same connection."""
    return error_number(error) in _LOCKS


def reaction(error: DBAPIError, place: str, *, was_connected: bool) -> SnifferError | RetryLater:
    """What to raise in its place: RetryLater when the transaction should be tried again. Its text is one line.

    With `was_connected`, this process has reached the server before: a host that has no name now will have one again.
    """
    number, at = error_number(error), f"MySQL at {place}"
    if number in _OTHER_SCHEMA:
        problem = "a table is missing" if number == NO_SUCH_TABLE else "its tables are of another release"
        return SettingsError(f"{at}: {problem} ({described(error)}): run `sniffer migrate`")
    if number in _LACKING_RIGHTS:
        return SettingsError(
            f"{at}: a right is missing ({described(error)}): `sniffer migrate --grants` prints what each program needs"
        )
    if number in _WRONG_SERVER_SETTINGS:
        return SettingsError(f"{at}: {_WRONG_SERVER_SETTINGS[number]} (error {number})")
    if number in _WRONG_SETTINGS and not _may_be_found_again(error, was_connected):
        return SettingsError(
            f"{at}: {_WRONG_SETTINGS[number]} (error {number}): check SNIFFER_DATABASE_URL, with the password "
            "percent-encoded"
        )
    if number == _TLS_ERROR and _CERTIFICATE.search(_text(error)):
        return SettingsError(f"{at}: no encrypted connection ({described(error)}): see ssl_mode in docs/mysql.md")
    if isinstance(error, _REFUSED):
        return ContractError(f"{at} refused a statement ({described(error)}): are its tables of this release?")
    return RetryLater(described(error))


class StatementTooLarge(SettingsError):
    """The server takes no statement of that size: give it less at once."""


def packet_error(place: str, sent_bytes: int, limit_bytes: int) -> StatementTooLarge:
    """The error of a statement that is larger than the server takes."""
    return StatementTooLarge(
        f"MySQL at {place}: a statement of {sent_bytes:,} bytes is above its max_allowed_packet of {limit_bytes:,}: "
        "set it to 64M on the server, or make SNIFFER_BATCH_SIZE smaller"
    )


def described(error: DBAPIError) -> str:
    """Number and reason on one line, without anything that was stored."""
    number, text = error_number(error), _text(error)
    if re.search(r"errno: 28\b|error 28\b|no space left", text, re.I):
        return f"{number}: {DISK_FULL}"
    for meanings in (_LOCKS, _PASSING, _WRONG_SETTINGS):
        if number in meanings:
            return f"{number}: {_named(number, meanings, text)}"
    if number in _LACKING_RIGHTS | _OTHER_SCHEMA or number == _TLS_ERROR:
        return one_line(f"{number}: {text}")
    return one_line(f"{number}: {_without_values(text)}")


def _named(number: int, meanings: Mapping[int, str], text: str) -> str:
    """Of what cannot be reached, the library's own text says more: refused, timed out, no route."""
    return one_line(text) if number in (2002, 2003) else meanings[number]


def _may_be_found_again(error: DBAPIError, was_connected: bool) -> bool:
    return error_number(error) == 2005 and (was_connected or _NAME_SERVER_IS_AWAY in _text(error))


def _without_values(text: str) -> str:
    """The text up to the first quotation mark; what follows may be an object's key, with any marks in it."""
    return re.split(r"['\"`]", text, maxsplit=1)[0].rstrip(" :") or "no reason given"


def _text(error: DBAPIError) -> str:
    arguments = getattr(error.orig, "args", ())
    return str(arguments[-1]) if arguments else ""
