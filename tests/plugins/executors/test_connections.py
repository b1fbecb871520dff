"""From Connections to a program's environment."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import pytest
from airflow.sdk import Connection
from sqlalchemy import make_url

from sniffer.core.errors import SettingsError
from sniffer.core.redaction import KnownSecrets
from sniffer.core.settings import database_settings, serving_settings
from sniffer_airflow.executors.connections import Connections, fetch, program_environ

NASTY = "p@ss:w/o?r#d %2F&=+ö'\"\\"


def connection(conn_id: str, extra: Any = None, **fields: Any) -> Connection:
    text = extra if extra is None or isinstance(extra, str) else json.dumps(extra)
    return Connection(conn_id=conn_id, extra=text, **fields)


def mysql(**fields: Any) -> Connection:
    known = {"conn_type": "mysql", "host": "db", "login": "u", "password": "pw", "schema": "s"}
    return connection("mysql_default", **known | fields)


def aws(extra: Any = None, **fields: Any) -> Connection:
    return connection("aws_default", extra, conn_type="aws", **fields)


def environ_of(ambient: dict[str, str] | None = None, **connections: Connection) -> dict[str, str]:
    environ = program_environ(ambient or {}, Connections(**connections))
    environ.pop("PYTHONUNBUFFERED")
    return environ


def test_the_worker_s_environment_passes_but_for_airflow_s_own() -> None:
    ambient = {
        "PATH": "/bin",
        "SNIFFER_BEAT_S": "3",
        "AIRFLOW__CORE__FERNET_KEY": "k",
        "AIRFLOW_CONN_X": "y",
        "_AIRFLOW_Z": "z",
    }
    assert environ_of(ambient) == {"PATH": "/bin", "SNIFFER_BEAT_S": "3"}


def test_any_character_survives_in_the_database_url() -> None:
    environ = environ_of(mysql=mysql(login=NASTY, password=NASTY, schema="my db/1", port=3307))
    url = make_url(database_settings(environ).url.reveal())
    assert (url.username, url.password, url.host, url.port) == (NASTY, NASTY, "db", 3307)
    assert unquote(url.database or "") == "my db/1"
    assert url.query == {"charset": "utf8mb4"}


@pytest.mark.parametrize(
    ("extra", "query"),
    [
        ({"charset": "utf8"}, {"charset": "utf8"}),
        ({"unix_socket": "/run/my.sock"}, {"unix_socket": "/run/my.sock"}),
        ({"ssl": {"ca": "/ca.pem"}, "ssl_mode": "VERIFY_CA"}, {"ssl_ca": "/ca.pem", "ssl_mode": "VERIFY_CA"}),
        ({"ssl": '{"ca": "/ca.pem"}'}, {"ssl_ca": "/ca.pem"}),
        ({"client": "mysqlclient", "cursor": "dictcursor"}, {}),
    ],
)
def test_how_to_connect_is_taken_from_the_extra(extra: dict[str, Any], query: dict[str, str]) -> None:
    url = make_url(environ_of(mysql=mysql(extra=extra))["SNIFFER_DATABASE_URL"])
    assert url.query == {"charset": "utf8mb4"} | query


def test_a_socket_needs_no_host_and_an_ipv6_host_is_bracketed() -> None:
    by_socket = environ_of(mysql=mysql(host=None, extra={"unix_socket": "/s"}))["SNIFFER_DATABASE_URL"]
    assert by_socket.startswith("mysql+mysqldb://u:pw@localhost/s?")
    assert "@[::1]:3306/" in environ_of(mysql=mysql(host="::1", port=3306))["SNIFFER_DATABASE_URL"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"conn_type": "postgres"}, "must be of type mysql, not 'postgres'"),
        ({"login": None, "schema": ""}, "has no login and no schema"),
        ({"host": None}, "has no host"),
        ({"extra": {"ssl": "on"}}, "extra ssl must be a JSON object"),
        ({"extra": "not json"}, "extra field is not a JSON object"),
        ({"extra": "[1]"}, "extra field is not a JSON object"),
    ],
)
def test_a_half_given_database_is_refused_by_name(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=f"connection mysql_default.*{message}"):
        environ_of(mysql=mysql(**fields))


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": "tf", "port": 8501}, "http://tf:8501/v1/models/drug_detector"),
        ({"host": "tf", "schema": "https"}, "https://tf/v1/models/drug_detector"),
        ({"host": "https://tf:8501/"}, "https://tf:8501/v1/models/drug_detector"),
        ({"host": "tf", "conn_type": "https"}, "https://tf/v1/models/drug_detector"),
        ({"host": "tf", "schema": "v1/models/other"}, "http://tf/v1/models/other"),
        ({"host": "http://tf/gw/v1/models/other", "port": 80}, "http://tf:80/gw/v1/models/other"),
        ({"host": "::1", "port": 8501}, "http://[::1]:8501/v1/models/drug_detector"),
        ({"host": "tf", "login": "u", "password": "p/w"}, "http://u:p%2Fw@tf/v1/models/drug_detector"),
    ],
)
def test_every_way_to_write_down_a_model_server(fields: dict[str, Any], url: str) -> None:
    serving = connection("sniffer_serving", **{"conn_type": "http"} | fields)
    assert serving_settings(environ_of(serving=serving)).url.reveal() == url


def test_a_model_server_by_uri() -> None:
    uri = "http://127.0.0.1:8501/v1/models/drug_detector"
    assert environ_of(serving=Connection.from_uri(uri, "sniffer_serving")) == {"SNIFFER_SERVING_URL": uri}


def test_a_model_server_without_host_is_refused() -> None:
    with pytest.raises(SettingsError, match="connection sniffer_serving has no host"):
        environ_of(serving=connection("sniffer_serving", conn_type="http"))


AMBIENT = {
    "AWS_ACCESS_KEY_ID": "worker",
    "AWS_SECRET_ACCESS_KEY": "worker",
    "AWS_SESSION_TOKEN": "worker",
    "AWS_REGION": "us-east-1",
    "AWS_ENDPOINT_URL_S3": "http://worker",
    "AWS_CA_BUNDLE": "/ca",
}


@pytest.mark.parametrize("given", [{}, {"aws": aws()}, {"aws": aws({})}])
def test_without_keys_the_worker_s_own_credentials_are_left_alone(given: dict[str, Connection]) -> None:
    assert environ_of(AMBIENT, **given) == AMBIENT


def test_region_and_endpoint_without_keys_keep_the_worker_s_credentials() -> None:
    environ = environ_of(AMBIENT, aws=aws({"region_name": "eu-west-1", "endpoint_url": "http://s3"}))
    assert environ == {
        "AWS_ACCESS_KEY_ID": "worker",
        "AWS_SECRET_ACCESS_KEY": "worker",
        "AWS_SESSION_TOKEN": "worker",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": "http://s3",
        "AWS_CA_BUNDLE": "/ca",
    }


def test_a_role_is_assumed_with_the_worker_s_credentials_unless_the_connection_has_keys() -> None:
    ambient = AMBIENT | {"SNIFFER_ASSUME_ROLE": "worker", "SNIFFER_ASSUME_ROLE_EXTERNAL_ID": "worker"}
    by_worker = environ_of(ambient, aws=aws({"role_arn": "arn:aws:iam::1:role/x"}))
    assert by_worker == AMBIENT | {"SNIFFER_ASSUME_ROLE": "arn:aws:iam::1:role/x"}
    assert "SNIFFER_ASSUME_ROLE" not in environ_of(ambient, aws=aws(login="AKIA", password="s"))


def test_a_connection_that_was_named_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_EU", "aws://k:s@")
    found = fetch(mysql=False, serving=False, aws_connection="aws_eu").aws
    assert found is not None and found.login == "k"
    with pytest.raises(SettingsError, match="aws_us is missing.*connections add aws_us --conn-type aws"):
        fetch(mysql=False, serving=False, aws_connection="aws_us")
    monkeypatch.setenv("AIRFLOW_CONN_AWS_US", "mysql://u:p@db/s")
    with pytest.raises(SettingsError, match="aws_us must be of type aws, not 'mysql'"):
        fetch(mysql=False, serving=False, aws_connection="aws_us")


def test_keys_replace_the_worker_s_credentials_as_a_set() -> None:
    environ = environ_of(AMBIENT | {"AWS_PROFILE": "worker"}, aws=aws(login="AKIA", password=NASTY))
    assert environ["AWS_ACCESS_KEY_ID"] == "AKIA"
    assert environ["AWS_SECRET_ACCESS_KEY"] == NASTY
    assert not {"AWS_SESSION_TOKEN", "AWS_PROFILE"} & set(environ)


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        (aws({"aws_session_token": "t"}, login="k", password="s"), {"AWS_SESSION_TOKEN": "t"}),
        (aws({"aws_access_key_id": "k", "aws_secret_access_key": "s"}), {"AWS_SECRET_ACCESS_KEY": "s"}),
        (aws({"profile_name": "scanner"}), {"AWS_PROFILE": "scanner"}),
        (
            aws({"endpoint_url": "http://all", "service_config": {"s3": {"endpoint_url": "http://s3"}}}),
            {"AWS_ENDPOINT_URL": "http://all", "AWS_ENDPOINT_URL_S3": "http://s3"},
        ),
        (
            aws({"service_config": {"sts": {"endpoint_url": "http://sts"}}}),
            {"AWS_ENDPOINT_URL_STS": "http://sts"},
        ),
        (
            aws(
                {"role_arn": "arn:aws:iam::1:role/x", "assume_role_kwargs": {"ExternalId": "e"}},
                login="k",
                password="s",
            ),
            {
                "AWS_ACCESS_KEY_ID": "k",
                "SNIFFER_ASSUME_ROLE": "arn:aws:iam::1:role/x",
                "SNIFFER_ASSUME_ROLE_EXTERNAL_ID": "e",
            },
        ),
    ],
)
def test_what_else_an_aws_connection_may_say(connection: Connection, expected: dict[str, str]) -> None:
    assert expected.items() <= environ_of(aws=connection).items()


@pytest.mark.parametrize(
    ("connection", "message"),
    [
        (
            aws({"role_arn": "arn:aws:iam::1:role/x", "assume_role_method": "assume_role_with_saml"}),
            "no other assume_role",
        ),
        (aws({"role_arn": "arn:aws:iam::1:role/x", "assume_role_kwargs": {"Policy": "p"}}), "ExternalId alone"),
        (aws(login="AKIA"), "give both"),
        (aws(password="secret"), "give both"),
    ],
)
def test_an_aws_connection_that_cannot_be_passed_on_is_refused(connection: Connection, message: str) -> None:
    with pytest.raises(SettingsError, match=f"connection aws_default.*{message}"):
        environ_of(aws=connection)


def test_secrets_are_masked_plain_and_quoted_but_not_words_too_short_to_tell() -> None:
    connections = Connections(aws=aws(login="AKIA", password="aws-secret"), mysql=mysql(password=NASTY))
    environ = program_environ({}, connections)
    text = f"{environ['SNIFFER_DATABASE_URL']} {NASTY} {environ['AWS_SECRET_ACCESS_KEY']} pw"
    masked = KnownSecrets(environ).hide(text)
    assert masked == "mysql+mysqldb://u:***@db/s?charset=utf8mb4 *** *** pw"


@pytest.mark.parametrize(
    ("module", "its_own"),
    [
        ("sniffer.scan", "sniffer_mysql_scan"),
        ("sniffer_model.gate", "sniffer_mysql_trainer"),
        ("sniffer_model.export.export", "sniffer_mysql_trainer"),
        ("sniffer_rollout", "sniffer_mysql_rollout"),
    ],
)
def test_a_program_logs_in_to_mysql_as_its_role_where_that_has_a_connection(
    module: str, its_own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def given(module: str) -> str | None:
        found = fetch(module=module, aws=False, serving=False).mysql
        return None if found is None else found.login

    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", "mysql://reader:pw@db/s")
    assert given(module) == "reader"
    monkeypatch.setenv(f"AIRFLOW_CONN_{its_own.upper()}", "mysql://of_its_own:pw@db/s")
    assert given(module) == "of_its_own"
    assert given("") == "reader"  # Airflow's own tasks and pages
    monkeypatch.delenv("AIRFLOW_CONN_MYSQL_DEFAULT")
    assert given(module) == "of_its_own"


def test_a_missing_connection_is_named_with_how_to_make_it() -> None:
    with pytest.raises(SettingsError, match="connection mysql_default is missing.*airflow connections add"):
        fetch(module="sniffer.scan", aws=False, serving=False)
