"""`sniffer review account`: the local accounts of the review page."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Callable, Mapping

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import SettingsError
from sniffer.core.parser import Parser
from sniffer.core.program import Program, ProgramResult
from sniffer.core.review_accounts import ReviewRole, account_name
from sniffer.core.settings import database_settings
from sniffer.review.passwords import LONGEST_PASSWORD, hash_password


def _add_arguments(parser: Parser) -> None:
    parser.add_argument("action", choices=(*_ACTIONS, "list"), metavar="ACTION", help=" | ".join((*_ACTIONS, "list")))
    parser.add_argument("name", nargs="?", metavar="NAME", help="the account, as its decisions will name it")
    parser.add_argument("--role", choices=[str(role) for role in ReviewRole], help="for `add` and `role`")


def _run(arguments: argparse.Namespace) -> ProgramResult:
    if arguments.action in ("add", "role") and arguments.role is None:
        raise SettingsError(f"`{arguments.action}` needs --role: one of {', '.join(ReviewRole)}")
    if arguments.role is not None and arguments.action not in ("add", "role"):
        raise SettingsError(f"--role is for `add` and `role`, not for `{arguments.action}`")
    if arguments.action == "list":
        if arguments.name is not None:
            raise SettingsError("`list` takes no name: it shows all accounts")
        return _list()
    if arguments.name is None:
        raise SettingsError(f"`{arguments.action}` needs the account's NAME")
    name = account_name(arguments.name)
    with Database(database_settings()) as database:
        database.check()
        said = _ACTIONS[arguments.action](database, name, arguments.role)
        database.review_log.add(_operator(), f"account_{arguments.action}", name, role=arguments.role)
    return ProgramResult({"name": name, "action": arguments.action, "role": arguments.role}, f"account {name}: {said}")


def _list() -> ProgramResult:
    with Database(database_settings()) as database:
        database.check()
        found = database.review_accounts.all()
    lines = [
        f"{one.name}  {one.role}{'  disabled' if one.is_disabled else ''}"
        f"{'' if one.oidc_subject is None else f'  by OpenID Connect ({one.oidc_subject})'}"
        for one in found
    ]
    record = [{"name": one.name, "role": one.role, "is_disabled": one.is_disabled} for one in found]
    return ProgramResult({"accounts": record}, "\n".join(lines) or "there is no account yet")


def _add(database: Database, name: str, role: str | None) -> str:
    database.review_accounts.add(name, ReviewRole(str(role)), hash_password(_password()))
    return f"added as {role}"


def _password_again(database: Database, name: str, _: str | None) -> str:
    database.review_accounts.set_password(name, hash_password(_password()))
    return "its password is changed, and it is signed out"


def _role(database: Database, name: str, role: str | None) -> str:
    database.review_accounts.set_role(name, ReviewRole(str(role)))
    return f"it is {role} now, and is signed out"


def _disable(database: Database, name: str, _: str | None) -> str:
    database.review_accounts.disable(name)
    return "disabled, and signed out"


def _enable(database: Database, name: str, _: str | None) -> str:
    database.review_accounts.enable(name)
    return "may sign in again"


_ACTIONS: Mapping[str, Callable[[Database, str, str | None], str]] = {
    "add": _add,
    "password": _password_again,
    "role": _role,
    "disable": _disable,
    "enable": _enable,
}


def _password() -> str:
    """Asked for twice on a terminal; elsewhere the first line of standard input. Never a flag, which others can see."""
    if not sys.stdin.isatty():
        line = sys.stdin.readline(LONGEST_PASSWORD + 2).rstrip("\r\n")
        if not line:
            raise SettingsError("no password came on standard input: run this on a terminal, or send it one line")
        return line
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise SettingsError("the two passwords differ: run this again")
    return password


def _operator() -> str:
    """Who runs this program, for the log: the user of this machine."""
    try:
        return f"{getpass.getuser()} (command)"
    except (KeyError, OSError):
        return f"user {os.getuid()} (command)"


PROGRAM = Program(
    command="sniffer review account",
    summary="The local accounts of the review page: add one with a role, change its role or password, disable it or "
    "let it sign in again, or list all. A password is asked for on the terminal, or read from standard input. What "
    "takes a right away also signs the account out. A role is reviewer (decides), lead (also settles disagreements and "
    "releases held scans) or auditor (reads).",
    run=_run,
    add_arguments=_add_arguments,
    examples=(
        "sniffer review account add ann --role reviewer",
        "sniffer review account password ann",
        "sniffer review account disable ann",
    ),
    environment=("SNIFFER_DATABASE_URL", "SNIFFER_DATABASE_PATIENCE_S", "SNIFFER_LOG_FORMAT"),
    extra="review",
    has_text=True,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
