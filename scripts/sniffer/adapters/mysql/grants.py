"""The rights that each program needs, as roles of the server: what `sniffer migrate --grants` prints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, Table, text
from sqlalchemy.exc import DBAPIError

from sniffer.adapters.mysql import schema
from sniffer.adapters.mysql.errors import error_number, reaction
from sniffer.core.errors import SettingsError

_READ, _WRITE = "SELECT", "SELECT, INSERT, UPDATE"


def _but(table: Table, *columns: str) -> str:
    """All columns of the table but these, and but those that the server fills in."""
    return ", ".join(column.name for column in table.columns if column.name not in columns)


_DECISION = ("requested_by", "approved_by", "approval_reason")
"""Columns of `models` in which a rollout says who wanted a version, and who let it become stable."""
_SCAN = _but(schema.scans, "number", "discarded_run")
_HELD = _but(schema.hold_decisions, "number", "decided_by", "results")
_DECIDED = "SELECT, UPDATE (run_number, discarded_run, state, certificate, finished_at)"
"""Of `scans`, for whoever releases and discards."""
_ESTIMATE = "digest, estimate, estimated_at"
_JUDGED = _but(schema.models, "version", "candidate_digest", "production", "status", *_DECISION)
"""Of `models`, for whoever judges and exports: `status` nobody writes, it follows from two columns."""


_NO_SUCH_ROLE = frozenset({1141, 1959})
_GRANT = re.compile(r"GRANT (.+?) ON (`.+`)\.`([^`]+)` TO ")
_COLUMNS = re.compile(r"[A-Z ]+\([^)]*\)")


@dataclass(frozen=True, slots=True)
class Role:
    """A role: which programs log in with it, and its rights by table; `*` is the whole database.

    Rights with columns are what keeps a program that is taken over from writing what only another may decide.
    `withdrawn` are those on a whole table that an earlier release gave.
    """

    name: str
    programs: str
    rights: Mapping[str, str]
    withdrawn: Mapping[str, str] = field(default_factory=dict)


ROLES = (
    Role(
        "sniffer_migrate",
        "sniffer migrate",
        {
            "*": "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES, CREATE VIEW, SHOW VIEW",
        },
    ),
    Role(
        "sniffer_scan",
        "sniffer scan, produce and consume; plan, estimate and certify; labels; recall",
        {
            "alembic_version": _READ,
            "models": _READ,
            "scans": f"SELECT, INSERT ({_SCAN}), UPDATE ({_SCAN})",
            "images": _WRITE,
            "predictions": _WRITE,
            "tallies": _WRITE,
            "leases": f"{_WRITE}, DELETE",
            "holds": "SELECT, INSERT",
            # Without `decided_by`: a scan holds itself, and releases nothing.
            "hold_decisions": f"SELECT, INSERT ({_HELD})",
            "shards": "SELECT, INSERT, UPDATE (up_to_key)",
            "estimates": f"SELECT, INSERT (scan_number, {_ESTIMATE}), UPDATE ({_ESTIMATE})",
            "review_decisions": _READ,  # for the table of labels, and for what samples measure
            "review_samples": "SELECT, INSERT",
            "review_sample_strata": "SELECT, INSERT",
            "review_queue": _WRITE,  # what was drawn waits there
            "kept_images": "SELECT, INSERT, UPDATE, DELETE",  # a copy that nobody needs goes
            "recall_draws": _WRITE,
            "recall_figures": _WRITE,
            "drift_tests": _WRITE,
        },
        withdrawn={
            "scans": "INSERT, UPDATE",
            "hold_decisions": "INSERT",
            "shards": "UPDATE",
            "estimates": "INSERT, UPDATE",
        },
    ),
    Role(
        "sniffer_trainer",
        "the gate and the export of `sniffer model`",
        {
            "alembic_version": _READ,
            "models": f"SELECT, INSERT (version, candidate_digest, {_JUDGED}), UPDATE ({_JUDGED})",
            "verdicts": "SELECT, INSERT",
            "reports": _WRITE,
            "recall_figures": _READ,
        },
        withdrawn={"models": "INSERT, UPDATE"},
    ),
    Role(
        "sniffer_rollout",
        "sniffer rollout",
        {
            "alembic_version": _READ,
            "models": f"SELECT, UPDATE (production, {', '.join(_DECISION)})",
            "promotions": "SELECT, INSERT",
            "scans": _READ,
            "shards": _READ,
            "holds": _READ,
            "leases": _READ,
            "images": _READ,
            "predictions": _READ,
        },
        withdrawn={"models": "UPDATE"},
    ),
    Role(
        "sniffer_decide",
        "sniffer release, discard and approve",
        {
            "alembic_version": _READ,
            "scans": _DECIDED,
            "shards": _READ,
            "predictions": "SELECT, DELETE",
            "holds": "SELECT, DELETE",
            "hold_decisions": "SELECT, INSERT",
            "estimates": "SELECT, UPDATE (approved_digest, approved_by, approval_reason, approved_at)",
        },
        withdrawn={"scans": "UPDATE", "estimates": "UPDATE"},
    ),
    Role(
        "sniffer_retention",
        "sniffer prune and erase",
        {
            "alembic_version": _READ,
            "models": _READ,
            "holds": _READ,
            "shards": "SELECT, UPDATE (after_key, up_to_key)",
            "leases": _READ,
            # `run_number`, to fence off a dead run of a shard whose end is erased.
            "scans": "SELECT, UPDATE (run_number, request, state, certificate)",
            "images": "SELECT, UPDATE (image_id), DELETE",  # UPDATE, to lock a row
            "predictions": "SELECT, DELETE",
            "erasures": "SELECT, INSERT",
            "review_decisions": _READ,  # what was decided stays; what is erased goes with its image
            "kept_images": "SELECT, UPDATE, DELETE",
        },
    ),
    Role(
        "sniffer_review",
        "sniffer review",
        {
            "alembic_version": _READ,
            "models": _READ,
            "images": _READ,
            # Leads release and discard held scans, too: as `sniffer_decide`.
            "scans": _DECIDED,
            "shards": _READ,
            "leases": _READ,
            "predictions": "SELECT, DELETE",
            "holds": "SELECT, DELETE",
            "hold_decisions": "SELECT, INSERT",
            "review_accounts": _WRITE,
            "review_sessions": f"{_WRITE}, DELETE",
            "review_oidc_logins": "SELECT, INSERT, UPDATE, DELETE",  # UPDATE, to lock a row
            "review_attempts": f"{_WRITE}, DELETE",
            "review_looks": "SELECT, INSERT",
            "review_log": "SELECT, INSERT",
            "review_log_head": "SELECT, UPDATE",
            "review_decisions": "SELECT, INSERT",
            "review_queue": f"{_WRITE}, DELETE",
            "review_leases": f"{_WRITE}, DELETE",
            "review_samples": _READ,
            "review_sample_strata": _READ,
            "near_duplicates": _WRITE,
            "kept_images": "SELECT, INSERT, UPDATE, DELETE",  # a copy that nobody needs goes
            "recall_figures": _READ,
            "drift_tests": _READ,
        },
        withdrawn={"shards": "UPDATE", "scans": "UPDATE", "images": "UPDATE"},
    ),
    Role("sniffer_reader", "Airflow's tasks and pages, sniffer doctor, and people", {"*": "SELECT, SHOW VIEW"}),
)


def grant_statements(connection: Connection) -> list[str]:
    """The statements that make the roles of the connection's database. Each may be repeated.

    Rights are withdrawn where a role has them, or where it cannot be seen: whoever works with it lacks some meanwhile.
    """
    database = str(connection.execute(text("SELECT DATABASE()")).scalar())
    return role_statements(database, {role.name: _whole_rights(connection, database, role) for role in ROLES})


def role_statements(database: str, held: Mapping[str, Mapping[str, set[str]] | None] | None = None) -> list[str]:
    """The same for a database of that name, whose tables are there, on any kind of server.

    `held` has, by role and table, the rights on whole tables that are there; None: unknown.
    """
    statements = []
    for role in ROLES:
        statements.append(f"CREATE ROLE IF NOT EXISTS {role.name}")
        of_role = held.get(role.name) if held else None
        for table, rights in role.withdrawn.items():
            if of_role is not None and not of_role.get(table, set()).intersection(rights.split(", ")):
                continue
            where = f"ON {_quoted(database, pattern=False)}.{table}"
            # Given first, since a server refuses to take away what is not there. It takes columns' rights along, so
            # those are given again right after it.
            statements += [f"GRANT {rights} {where} TO {role.name}", f"REVOKE {rights} {where} FROM {role.name}"]
        statements += [
            f"GRANT {rights} ON {_quoted(database, pattern=table == '*')}.{table} TO {role.name}"
            for table, rights in role.rights.items()
        ]
    return statements


def user_statements(connection: Connection, role: Role) -> list[str]:
    """How a user for that role is made, with a password to be filled in."""
    account = f"'{role.name}_user'@'%'"
    link = "FOR" if getattr(connection.dialect, "is_mariadb", False) else "TO"
    return [
        f"CREATE USER {account} IDENTIFIED BY '...'",
        f"GRANT {role.name} TO {account}",
        f"SET DEFAULT ROLE {role.name} {link} {account}",
    ]


def grants_script(connection: Connection) -> str:
    """All of it as a script for the server's command line client: the roles, and the users as comments."""
    lines = [f"{statement};" for statement in grant_statements(connection)]
    lines += ["", "-- A user for each, with a password and a host of your own:"]
    for role in ROLES:
        lines.append(f"-- {role.programs}:")
        lines += [f"--   {statement};" for statement in user_statements(connection, role)]
    return "\n".join(lines)


def _whole_rights(connection: Connection, database: str, role: Role) -> dict[str, set[str]] | None:
    """By table, the rights that the role has on all of it; None when the server does not say."""
    try:
        grants = connection.exec_driver_sql(f"SHOW GRANTS FOR {role.name}").scalars().all()
    except DBAPIError as error:
        if error_number(error) in _NO_SUCH_ROLE:
            return {}
        if isinstance(reaction(error, "", was_connected=True), SettingsError):
            return None
        raise
    found: dict[str, set[str]] = {}
    for grant in map(str, grants):
        if match := _GRANT.match(grant):
            rights, place, table = match.groups()
            if place == _quoted(database, pattern=False):
                # Without those of columns, which have their names behind.
                found[table] = {right.strip() for right in _COLUMNS.sub("", rights).split(",")} - {""}
    return found


def _quoted(database: str, *, pattern: bool) -> str:
    """The name in backticks; for a grant on the whole database it is a pattern, in which _ and % are escaped."""
    name = database.replace("`", "``")
    return f"`{name.replace('_', chr(92) + '_').replace('%', chr(92) + '%')}`" if pattern else f"`{name}`"
