"""Programs whose every setting holds a secret fail in every way: none of it is printed, handed on, or stored."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from support.flaky_s3 import FlakyS3
from support.fleet import Fleet, counted
from support.http_server import HttpAnswer, HttpRequest, HttpServer

from sniffer.cli import main
from sniffer_local.processes import free_port

PASSWORDS = {
    name: f"Zq{number}/{name}@{{w}} ö%+"
    for number, name in enumerate(["database", "endpoint", "serving", "proxy", "airflow"])
}
KEYS = {"AWS_SECRET_ACCESS_KEY": "Zqsecretaccesskey0123456789", "AWS_SESSION_TOKEN": "Zqsession/token+0123456789=="}


def url(scheme: str, name: str, place: str) -> str:
    return f"{scheme}://sniffer:{quote(PASSWORDS[name], safe='')}@{place}"


def traces() -> set[str]:
    """What would betray one: each secret as it is, in part, and as URLs, JSON and headers have it."""
    found = {"Zq"}
    for secret in [*PASSWORDS.values(), *KEYS.values()]:
        found |= {quote(secret, safe=""), json.dumps(secret)[1:-1], base64.b64encode(secret.encode()).decode()[:-4]}
    return found | {base64.b64encode(f"sniffer:{word}".encode()).decode()[:-4] for word in PASSWORDS.values()}


class Telltale(HttpServer):
    """A proxy whose error pages quote the request with all its headers, and whatever else it may know."""

    status = 403

    def respond(self, request: HttpRequest) -> HttpAnswer:
        said = [f"{request.method} {request.path}", *(f"{name}: {value}" for name, value in request.headers.items())]
        said += [word for secret in [*PASSWORDS.values(), *KEYS.values()] for word in (secret, quote(secret, safe=""))]
        return HttpAnswer(self.status, " ".join([*said[2:], *said]).encode(), [("Content-Type", "text/plain")])


@pytest.fixture
def telltale() -> Iterator[Telltale]:
    with Telltale() as server:
        yield server


@pytest.fixture
def planted(telltale: Telltale, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A secret in every setting; whatever speaks HTTP reaches the telltale, and nobody listens for MySQL."""
    place = urlsplit(telltale.url).netloc
    curve = tmp_path / "curve"
    curve.write_text("Zq0123456789012345678901234567890123456x")
    values = {
        **KEYS,
        "AWS_ACCESS_KEY_ID": "AKIA",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url("http", "endpoint", place),
        "HTTPS_PROXY": url("http", "proxy", place),
        "SNIFFER_DATABASE_URL": url("mysql+mysqldb", "database", f"127.0.0.1:{free_port()}/db"),
        "SNIFFER_SERVING_URL": f"{url('http', 'serving', place)}/v1/models/drug_detector",
        "SNIFFER_AIRFLOW_URL": url("http", "airflow", place),
        "SNIFFER_ROLLOUT_TARGET": f"local:{tmp_path}",
        "SNIFFER_MODEL_BASE_PATH": "s3://models/base",
        **{f"SNIFFER_CURVE_{part}_FILE": str(curve) for part in ("PUBLIC", "SECRET", "SERVER", "CLIENTS")},
        "SNIFFER_NO_CONSUMER_S": "0.2",
        **{f"SNIFFER_{name}_PATIENCE_S": "0" for name in ("DATABASE", "SERVING", "FETCH", "ROLLOUT")},
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


COMMANDS = [
    "doctor --bucket uploads",
    "doctor --bucket uploads --json",
    "migrate",
    "scan --bucket uploads --dry-run",
    "produce --bucket uploads --endpoint tcp://127.0.0.1:*",
    "consume --endpoint tcp://127.0.0.1:1",
    "model snapshot --workdir {tmp} --source s3://labels",
    "model export --workdir {tmp} --model-base-path https://me:Zq9word@host/base?sig=Zq8word",
    "rollout status",
    "rollout run",
]


@pytest.mark.parametrize(("status", "log_format"), [(403, "text"), (400, "json"), (502, "json")])
def test_no_program_prints_a_secret(
    planted: pytest.MonkeyPatch,
    telltale: Telltale,
    status: int,
    log_format: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    telltale.status = status
    planted.setenv("SNIFFER_LOG_FORMAT", log_format)
    for command in COMMANDS:
        assert run(command.format(tmp=tmp_path)) != 0, command
        told = "".join(capfd.readouterr())
        assert told.strip(), command
        assert not [trace for trace in traces() if trace in told], f"{command}:\n{told}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SNIFFER_DATABASE_URL", "mysql+mysqldb://sniffer:Zq1word@no-such-host.invalid/db"),
        ("SNIFFER_DATABASE_URL", "mysql+mysqldb://sniffer:Zq1/word#x@127.0.0.1:1/db"),
        ("SNIFFER_DATABASE_URL", "mysql+mysqldb://sniffer:Zq1@wo:rd@127.0.0.1:1/db"),
        ("SNIFFER_DATABASE_URL", "postgresql://sniffer:Zq1word@127.0.0.1/db"),
        ("SNIFFER_DATABASE_URL", "mysql+mysqldb://sniffer:Zq1word@127.0.0.1:x/db"),
        ("SNIFFER_DATABASE_URL", "mysql+mysqldb://sniffer@127.0.0.1:1/db?passwd=Zq1word"),
        ("SNIFFER_SERVING_URL", "http://sniffer:Zq1word@127.0.0.1:1/v1/models/m"),
        ("SNIFFER_SERVING_URL", "http://sniffer:Zq1word@127.0.0.1/wrong"),
        ("SNIFFER_SERVING_URL", "http://Zq1token@no-such-host.invalid/v1/models/m"),
        ("SNIFFER_SERVING_REPLICAS", "http://sniffer:Zq1word@127.0.0.1/v1/wrong"),
        ("SNIFFER_AIRFLOW_URL", "http://sniffer:Zq1word@no-such-host.invalid:1"),
        ("SNIFFER_AIRFLOW_URL", "ftp://sniffer:Zq1word@h"),
        ("AWS_ENDPOINT_URL", "http://sniffer:Zq1word@no-such-host.invalid:1"),
        ("AWS_ENDPOINT_URL", "no-scheme:Zq1word@127.0.0.1"),
        ("HTTP_PROXY", "http://sniffer:Zq1word@no-such-host.invalid:1"),
    ],
)
def test_a_wrong_setting_is_named_without_its_secret(
    planted: pytest.MonkeyPatch, name: str, value: str, capfd: pytest.CaptureFixture[str]
) -> None:
    planted.setenv(name, value)
    assert run("doctor --bucket uploads") == 1
    told = "".join(capfd.readouterr())
    assert "Zq" not in told, told


def test_what_a_store_says_is_kept_without_secrets(fleet: Fleet, flaky_s3: FlakyS3) -> None:
    """Certificate and rows hold the store's own words, which may quote what the request was signed with."""
    fleet.fill(2)
    secret = "Zqaccess/key+word=="
    encoded = base64.b64encode(secret.encode()).decode()
    said = f"sniffer:{PASSWORDS['endpoint']} {secret} {quote(secret, safe='')} {encoded}"
    document = f"<Error><Code>AccessDenied</Code><Message>{said}</Message></Error>".encode()
    flaky_s3.refuse = lambda _method, path: (403, document) if "0001.jpg" in path else None
    endpoint = url("http", "endpoint", urlsplit(flaky_s3.endpoint_url).netloc)
    environ = {"AWS_ENDPOINT_URL": endpoint, "AWS_SECRET_ACCESS_KEY": secret}
    with fleet.start(**environ) as program:
        program.wait()
    assert counted(fleet.certificate())["inaccessible"] == 1
    rows = fleet.rows("SELECT * FROM scans") + fleet.rows("SELECT error_message FROM predictions")
    for told in (program.text(), fleet.certificate_path.read_text(), repr(rows)):
        assert not [trace for trace in {*traces(), encoded[:-4]} if trace in told], told
    assert "AccessDenied, HTTP 403: sniffer:*** *** *** ***" in repr(rows)


def run(command: str) -> int:
    try:
        return main(command.split())
    except SystemExit as end:
        assert isinstance(end.code, int)
        return end.code
