"""Objects are fetched where, and as whom, boto3 would fetch them: compared without a network, setting by setting."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from hypothesis import given, settings
from hypothesis import strategies as st

from sniffer.adapters.s3.bucket import Bucket
from sniffer.adapters.s3.client import BucketClient
from sniffer.adapters.s3.route import Route
from sniffer.core.errors import SettingsError

KEY = "in/ä b+c%20//./photo?.jpg"
DIRECTORY = "mine--use1-az4--x-s3"
ACCESS_POINT = "arn:aws:s3:eu-west-1:123456789012:accesspoint/mine"
SESSION = b"""<CreateSessionResult><Credentials><SessionToken>t</SessionToken><SecretAccessKey>s</SecretAccessKey>
<AccessKeyId>ASIAEXPRESS</AccessKeyId><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></CreateSessionResult>"""


@dataclass(frozen=True)
class Case:
    """One way to set AWS up, and where a GET must go then (a pattern)."""

    host: str
    environ: dict[str, str] = field(default_factory=dict)
    config: str = ""
    bucket: str = "mine"


CASES = {
    "nothing": Case(r"https://mine\.s3\.amazonaws\.com/"),
    "region": Case(r"https://mine\.s3\.eu-west-1\.amazonaws\.com/", {"AWS_DEFAULT_REGION": "eu-west-1"}),
    "dots in the name": Case(r"https://s3\.amazonaws\.com/my\.own/", bucket="my.own"),
    "FIPS": Case(r"https://mine\.s3-fips\.us-east-1\.", {"AWS_USE_FIPS_ENDPOINT": "true"}),
    "dual stack": Case(r"https://mine\.s3\.dualstack\.us-east-1\.", {"AWS_USE_DUALSTACK_ENDPOINT": "true"}),
    "FIPS and dual stack": Case(
        r"https://mine\.s3-fips\.dualstack\.us-gov-west-1\.",
        {
            "AWS_USE_FIPS_ENDPOINT": "true",
            "AWS_USE_DUALSTACK_ENDPOINT": "true",
            "AWS_DEFAULT_REGION": "us-gov-west-1",
        },
    ),
    "China": Case(r"https://mine\.s3\.cn-north-1\.amazonaws\.com\.cn/", {"AWS_DEFAULT_REGION": "cn-north-1"}),
    "endpoint": Case(r"http://minio:9000/mine/", {"AWS_ENDPOINT_URL": "http://minio:9000"}),
    "endpoint of S3": Case(
        r"https://s3\.example\.com/mine/",
        {"AWS_ENDPOINT_URL": "http://wrong", "AWS_ENDPOINT_URL_S3": "https://s3.example.com"},
    ),
    "endpoint with a path": Case(
        r"https://gate\.example\.com/s3/mine/", {"AWS_ENDPOINT_URL": "https://gate.example.com/s3"}
    ),
    "endpoint of the profile": Case(
        r"http://minio:9000/mine/",
        {"AWS_PROFILE": "lab"},
        "[profile lab]\nregion = eu-north-1\nendpoint_url = http://minio:9000\n",
    ),
    "endpoint of the profile's services": Case(
        r"http://minio:9001/mine/",
        {"AWS_PROFILE": "lab"},
        "[profile lab]\nservices = lab\n[services lab]\ns3 =\n  endpoint_url = http://minio:9001\n",
    ),
    "an endpoint that is to be ignored": Case(
        r"https://mine\.s3\.amazonaws\.com/",
        {"AWS_ENDPOINT_URL": "http://minio:9000", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
    ),
    "virtual addressing": Case(
        r"https://mine\.s3\.example\.com/",
        {"AWS_ENDPOINT_URL": "https://s3.example.com"},
        "[default]\ns3 =\n  addressing_style = virtual\n",
    ),
    "path addressing": Case(
        r"https://s3\.eu-west-1\.amazonaws\.com/mine/",
        {"AWS_DEFAULT_REGION": "eu-west-1"},
        "[default]\ns3 =\n  addressing_style = path\n",
    ),
    "acceleration": Case(
        r"https://mine\.s3-accelerate\.amazonaws\.com/", {}, "[default]\ns3 =\n  use_accelerate_endpoint = true\n"
    ),
    "dual stack of the file": Case(
        r"https://mine\.s3\.dualstack\.us-east-1\.", {}, "[default]\ns3 =\n  use_dualstack_endpoint = true\n"
    ),
    "signature version 2": Case(
        r"https://mine\.s3\.amazonaws\.com/", {}, "[default]\ns3 =\n  signature_version = s3\n"
    ),
    "regional us-east-1": Case(
        r"https://mine\.s3\.us-east-1\.amazonaws\.com/", {"AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": "regional"}
    ),
    "session token": Case(r"https://mine\.s3\.amazonaws\.com/", {"AWS_SESSION_TOKEN": "token"}),
    "access point": Case(
        r"https://mine-123456789012\.s3-accesspoint\.eu-west-1\.amazonaws\.com/",
        {"AWS_DEFAULT_REGION": "eu-west-1"},
        bucket=ACCESS_POINT,
    ),
    "access point in its own region": Case(
        r"https://mine-123456789012\.s3-accesspoint\.eu-west-1\.",
        {"AWS_DEFAULT_REGION": "us-east-1", "AWS_S3_USE_ARN_REGION": "true"},
        bucket=ACCESS_POINT,
    ),
    "access point alias": Case(r"https://mine-abc-s3alias\.s3\.", bucket="mine-abc-s3alias"),
    "object lambda": Case(
        r"https://lens-123456789012\.s3-object-lambda\.us-east-1\.",
        bucket="arn:aws:s3-object-lambda:us-east-1:123456789012:accesspoint/lens",
    ),
    "S3 Express": Case(rf"https://{DIRECTORY}\.s3express-use1-az4\.us-east-1\.amazonaws\.com/", bucket=DIRECTORY),
}


@pytest.fixture(params=CASES.values(), ids=list(CASES))
def case(request: pytest.FixtureRequest, aws_variables: pytest.MonkeyPatch, tmp_path: Path) -> Case:
    """The case's environment and shared configuration file are set."""
    case: Case = request.param
    if case.config:
        (tmp_path / "config").write_text(case.config)
        aws_variables.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    if "region" in case.config:
        aws_variables.delenv("AWS_DEFAULT_REGION")
    for name, value in case.environ.items():
        aws_variables.setenv(name, value)
    return case


class Recorder:
    """Takes what would be sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, request: Any, **_: object) -> AWSResponse:
        self.sent.append(request)
        return AWSResponse(request.url, 200, {"Content-Length": "0"}, _Empty())

    def open(self, request: Any, _bounds: object) -> AWSResponse:
        return self.send(request)


class _Empty:
    def read(self, *_: object) -> bytes:
        return b""

    def close(self) -> None:
        """Nothing."""


def without_network(client: Any) -> None:
    """S3 Express asks for a session first."""
    client.meta.events.register(
        "before-send.s3.CreateSession", lambda request, **_: AWSResponse(request.url, 200, {}, _Session())
    )


class _Session(_Empty):
    def stream(self, **_: object) -> Any:
        return iter((SESSION,))


def sent_by_boto3(bucket: str) -> Any:
    """The GET of a user's own boto3."""
    client, recorder = boto3.session.Session().client("s3"), Recorder()
    without_network(client)
    client.meta.events.register("before-send.s3.GetObject", recorder.send)
    client.get_object(Bucket=bucket, Key=KEY)
    return recorder.sent[0]


def sent_by_us(bucket: str) -> Any:
    """The scan's GET."""
    client, recorder = BucketClient(bucket, patience_s=0, connections=1, requester_pays=False), Recorder()
    without_network(client.s3)
    route = Route(client, 1000)
    route._http = recorder  # type: ignore[assignment]
    with route.get(KEY):
        return recorder.sent[0]


def as_whom(request: Any) -> tuple[object, ...]:
    """Of the signature what does not depend on the time: scheme, access key and scope, and the token."""
    headers = {
        name.lower(): value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()
    }
    said = headers["authorization"]
    scope = re.sub(r"/\d{8}/", "/DAY/", said.split(",")[0])
    scheme = scope.partition(":")[0]
    return (
        scheme,
        "" if ":" in scope else scope,
        headers.get("x-amz-security-token"),
        headers.get("x-amz-s3session-token"),
    )


@pytest.mark.sampled(4)
def test_a_get_goes_where_boto3_goes(case: Case) -> None:
    theirs, ours = sent_by_boto3(case.bucket), sent_by_us(case.bucket)
    assert re.match(case.host, ours.url), ours.url
    assert ours.url == theirs.url
    assert as_whom(ours) == as_whom(theirs)
    assert ours.headers["User-Agent"]


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_any_key_is_written_as_boto3_writes_it(key: str) -> None:
    client, recorder = _recorded_client()
    client.get_object(Bucket="mine", Key=key)
    assert _route().url(key) == recorder.sent.pop().url


@functools.cache
def _recorded_client() -> tuple[Any, Recorder]:
    environment = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    client, recorder = boto3.session.Session(**environment).client("s3"), Recorder()
    client.meta.events.register("before-send.s3.GetObject", recorder.send)
    return client, recorder


@functools.cache
def _route() -> Route:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}.items():
            patch.setenv(name, value)
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        return Route(BucketClient("mine", patience_s=0, connections=1, requester_pays=False), 1000)


def test_connections_and_their_trust_are_boto3s_own(aws_variables: pytest.MonkeyPatch) -> None:
    aws_variables.setenv("AWS_CA_BUNDLE", "/private/ca.pem")
    aws_variables.setenv("HTTPS_PROXY", "http://proxy:3128")
    client = BucketClient("mine", patience_s=0, connections=1, requester_pays=False)
    assert Route(client, 1000)._http is client.s3._endpoint.http_session


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"AWS_PROFILE": "nobody"}, "nobody"),
        ({"AWS_ENDPOINT_URL": "not a url"}, "Invalid endpoint"),
    ],
)
def test_settings_that_boto3_refuses_are_said_in_one_line(
    aws_variables: pytest.MonkeyPatch, environ: dict[str, str], words: str
) -> None:
    for name, value in environ.items():
        aws_variables.setenv(name, value)
    with pytest.raises(SettingsError, match=words):
        Bucket("mine", patience_s=0, max_bytes=1).check()
