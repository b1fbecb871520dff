"""From Airflow Connections to the environment of a program: the one place where a program's secrets are put together.

In: Connections and the worker's own environment. Out: the child's environment. Pure functions, but for `fetch`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from sniffer.core.errors import SettingsError
from sniffer.core.model_records import MODEL_NAME
from sniffer.core.variables import ASSUME_ROLE, ASSUME_ROLE_EXTERNAL_ID
from sniffer_airflow.names import AWS_CONNECTION, MYSQL_CONNECTION, MYSQL_CONNECTIONS, SERVING_CONNECTION

HOW_TO_CREATE = {
    MYSQL_CONNECTION: "--conn-type mysql --conn-host HOST --conn-login USER --conn-password PASSWORD "
    "--conn-schema DATABASE",
    SERVING_CONNECTION: "--conn-type http --conn-host HOST --conn-port 8501",
}

_AWS_HOW_TO_CREATE = "--conn-type aws --conn-login ACCESS_KEY_ID --conn-password SECRET_ACCESS_KEY"

_ROLE, _EXTERNAL_ID = ASSUME_ROLE.name, ASSUME_ROLE_EXTERNAL_ID.name
_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    _ROLE,
    _EXTERNAL_ID,
)
_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_STS", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
_MYSQL_TYPES = ("mysql", "mariadb")


@dataclass(frozen=True)
class Connections:
    """What a program is given. None means it needs none; for AWS, that the worker's own credentials are used."""

    aws: Connection | None = None
    mysql: Connection | None = None
    serving: Connection | None = None


def fetch(
    *, module: str = "", aws: bool = True, mysql: bool = True, serving: bool = True, aws_connection: str = ""
) -> Connections:
    """Read the Connections a program needs; SettingsError names a missing one and how to create it.

    For MySQL that of the module's role where there is one, else the one that Airflow's own tasks and pages read with.
    For AWS the named one, which must be there, else AWS_CONNECTION, which need not.
    """
    of_aws = _of_type_aws(_needed(aws_connection)) if aws_connection else _optional(AWS_CONNECTION) if aws else None
    return Connections(
        aws=of_aws,
        mysql=_database_of(module) if mysql else None,
        serving=_needed(SERVING_CONNECTION) if serving else None,
    )


def program_environ(ambient: Mapping[str, str], connections: Connections) -> dict[str, str]:
    """The environment of a program: the worker's, without Airflow's own settings, with what the Connections say.

    A Connection beats a variable of the worker: credentials replace credentials as a set, never half of one and
    half of the other.
    """
    environ = {name: value for name, value in ambient.items() if not name.lstrip("_").startswith("AIRFLOW")}
    environ["PYTHONUNBUFFERED"] = "1"
    if connections.aws is not None:
        changes = aws_environ(connections.aws)
        if "AWS_ACCESS_KEY_ID" in changes or "AWS_PROFILE" in changes:
            _drop(environ, _CREDENTIALS)
        elif _ROLE in changes:  # assumed with the worker's own
            _drop(environ, (_ROLE, _EXTERNAL_ID))
        if changes.keys() & set(_ENDPOINTS):
            _drop(environ, _ENDPOINTS)
        environ |= changes
    if connections.mysql is not None:
        environ["SNIFFER_DATABASE_URL"] = database_url(connections.mysql)
    if connections.serving is not None:
        environ["SNIFFER_SERVING_URL"] = serving_url(connections.serving)
    return environ


def aws_environ(connection: Connection) -> dict[str, str]:
    """The AWS_* variables a Connection of type aws stands for; without keys in it, none for credentials.

    With `role_arn` in its extra, as Airflow's own hooks take it, the role is assumed by these credentials or, without
    keys, by the worker's. SettingsError for other ways to assume one, and for half a pair of keys.
    """
    extra = _extra(connection)
    key = connection.login or extra.get("aws_access_key_id")
    secret = connection.password or extra.get("aws_secret_access_key")
    if bool(key) != bool(secret):
        raise SettingsError(f"connection {connection.conn_id}: give both the access key id and the secret key, or none")
    region = extra.get("region_name")
    variables = {
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_SESSION_TOKEN": extra.get("aws_session_token") if key else None,
        "AWS_PROFILE": None if key else extra.get("profile_name"),
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        "AWS_ENDPOINT_URL": extra.get("endpoint_url"),
        # boto3, too, asks the service's before the general one.
        "AWS_ENDPOINT_URL_S3": _endpoint_of("s3", extra),
        "AWS_ENDPOINT_URL_STS": _endpoint_of("sts", extra),
        **_role(connection.conn_id, extra),
    }
    return {name: str(value) for name, value in variables.items() if value}


def _role(conn_id: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The role that a Connection wants assumed, and its owner's external id."""
    if not extra.get("role_arn"):
        return {}
    method = extra.get("assume_role_method") or "assume_role"
    more = extra.get("assume_role_kwargs") or {}
    if method != "assume_role" or not isinstance(more, Mapping) or set(more) - {"ExternalId"}:
        raise SettingsError(
            f"connection {conn_id}: of a role_arn, a program is given the assume_role_kwargs ExternalId alone, and no "
            "other assume_role_method: let the worker assume the role (and leave role_arn out), or name a profile that "
            "assumes it in extra profile_name"
        )
    return {_ROLE: extra["role_arn"], _EXTERNAL_ID: more.get("ExternalId")}


def database_url(connection: Connection) -> str:
    """The SQLAlchemy URL of a Connection of type mysql; any character may be in user, password and database."""
    if connection.conn_type not in _MYSQL_TYPES:
        raise SettingsError(f"connection {connection.conn_id} must be of type mysql, not {connection.conn_type!r}")
    extra = _extra(connection)
    needed = {"login": connection.login, "schema (the database)": connection.schema}
    if not extra.get("unix_socket"):
        needed["host"] = connection.host
    if missing := [name for name, value in needed.items() if not value]:
        raise SettingsError(f"connection {connection.conn_id} has no {' and no '.join(missing)}")
    query = urlencode({"charset": "utf8mb4"} | _mysql_options(connection.conn_id, extra))
    address = _address(connection.host or "localhost", connection.port)
    return f"mysql+mysqldb://{_userinfo(connection)}{address}/{quote(connection.schema or '', safe='')}?{query}"


def serving_url(connection: Connection) -> str:
    """The URL of the model at TensorFlow Serving: `http://host:8501/v1/models/drug_detector`.

    The path may be left out, or be the path of the Connection's URI. `https` is taken from the schema (as Airflow's
    form for HTTP wants it), the type or the host.
    """
    given = connection.host or ""
    if "://" not in given:
        given = f"//{_address(given, None)}" if given.count(":") > 1 else f"//{given}"
    parts = urlsplit(given)
    if not parts.hostname:
        raise SettingsError(f"connection {connection.conn_id} has no host")
    schema = (connection.schema or "").strip("/")
    protocols = [p for p in (schema, parts.scheme, connection.conn_type) if p in ("http", "https")]
    path = (schema if schema not in ("", "http", "https") else parts.path.strip("/")) or f"v1/models/{MODEL_NAME}"
    address = _address(parts.hostname, connection.port or parts.port)
    return f"{(protocols or ['http'])[0]}://{_userinfo(connection)}{address}/{path}"


def _database_of(module: str) -> Connection:
    of_role = MYSQL_CONNECTIONS.get(module.partition(".")[0])
    return (_optional(of_role) if of_role else None) or _needed(MYSQL_CONNECTION)


def _of_type_aws(connection: Connection) -> Connection:
    """That connection, unless it is another system's, whose password AWS must not see."""
    if connection.conn_type != "aws":
        raise SettingsError(f"connection {connection.conn_id} must be of type aws, not {connection.conn_type!r}")
    return connection


def _optional(conn_id: str) -> Connection | None:
    try:
        connection: Connection = Connection.get(conn_id)
    except AirflowNotFoundException:
        return None
    return connection


def _needed(conn_id: str) -> Connection:
    connection = _optional(conn_id)
    if connection is None:
        raise SettingsError(
            f"the Airflow connection {conn_id} is missing: create it under Admin > Connections, or by "
            f"`airflow connections add {conn_id} {HOW_TO_CREATE.get(conn_id, _AWS_HOW_TO_CREATE)}`"
        )
    return connection


def _extra(connection: Connection) -> dict[str, Any]:
    extra = connection.extra_dejson if connection.extra else {}
    unreadable = not extra and (connection.extra or "").strip() not in ("", "{}", "null")
    if unreadable or not isinstance(extra or {}, dict):
        raise SettingsError(f"connection {connection.conn_id}: its extra field is not a JSON object")
    return extra or {}


def _endpoint_of(service: str, extra: Mapping[str, Any]) -> str | None:
    """The endpoint of one service, where Airflow's own hooks look for it."""
    services = extra.get("service_config") or {}
    endpoint: str | None = (services.get(service) or {}).get("endpoint_url")
    return endpoint


def _mysql_options(conn_id: str, extra: Mapping[str, Any]) -> dict[str, str]:
    """The extras that concern how to connect, as Airflow's MySQL hook names them, in SQLAlchemy's names."""
    options = {name: str(extra[name]) for name in ("charset", "unix_socket", "ssl_mode") if extra.get(name)}
    ssl = extra.get("ssl") or {}
    with contextlib.suppress(ValueError):
        ssl = json.loads(ssl) if isinstance(ssl, str) else ssl  # the hook takes JSON text as well
    if not isinstance(ssl, dict):
        raise SettingsError(f'connection {conn_id}: extra ssl must be a JSON object such as {{"ca": "/path"}}')
    return options | {f"ssl_{name}": str(value) for name, value in ssl.items()}


def _address(host: str, port: int | None) -> str:
    bare = host.strip("[]")
    return (f"[{bare}]" if ":" in bare else bare) + (f":{port}" if port else "")


def _userinfo(connection: Connection) -> str:
    if not connection.login:
        return ""
    password = f":{quote(connection.password, safe='')}" if connection.password else ""
    return f"{quote(connection.login, safe='')}{password}@"


def _drop(environ: dict[str, str], names: tuple[str, ...]) -> None:
    for name in names:
        environ.pop(name, None)
