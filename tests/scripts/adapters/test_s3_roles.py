"""A bucket of another account is listed and read as a role there: by real calls, to a moto that parts accounts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from sniffer.adapters.s3.bucket import Bucket
from sniffer.core.errors import SettingsError
from sniffer_local.s3 import S3, aws_environ

OTHER_ACCOUNT = "111122223333"
ROLE = f"arn:aws:iam::{OTHER_ACCOUNT}:role/reads-images"
BYTES = b"not ours"


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """An S3 and an STS with a bucket of ours, and one of another account that only its roles may read."""
    server = S3(tmp_path_factory.mktemp("accounts"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_S3_ALLOW_CROSSACCOUNT_ACCESS", "false")
        server.start()
    server.client().create_bucket(Bucket="ours")
    theirs = client_of(server, OTHER_ACCOUNT)
    theirs.create_bucket(Bucket="theirs")
    theirs.put_object(Bucket="theirs", Key="a.jpg", Body=BYTES)
    yield server
    server.stop()


def client_of(server: S3, account: str) -> Any:
    """A client of a role in that account."""
    environ = aws_environ(server.port)
    keys = (environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"])
    more: Any = {"endpoint_url": server.endpoint_url, "region_name": "us-east-1"}
    sts = boto3.client("sts", aws_access_key_id=keys[0], aws_secret_access_key=keys[1], **more)
    given = sts.assume_role(RoleArn=f"arn:aws:iam::{account}:role/owner", RoleSessionName="setup")["Credentials"]
    return boto3.client(
        "s3",
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
        **more,
    )


@pytest.fixture
def ours(accounts: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our account's keys, as a worker has them."""
    for name, value in aws_environ(accounts.port).items():
        monkeypatch.setenv(name, value)


def test_another_account_s_bucket_is_listed_and_read_as_a_role_there(
    ours: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match="theirs"):
        Bucket("theirs", patience_s=1, max_bytes=100).check()
    monkeypatch.setenv("SNIFFER_ASSUME_ROLE", ROLE)
    monkeypatch.setenv("SNIFFER_ASSUME_ROLE_EXTERNAL_ID", "4711")
    bucket = Bucket("theirs", patience_s=1, max_bytes=100)
    assert bucket.check() is not None
    [[image]] = bucket.pages("")
    assert image.key == "a.jpg" and bucket.fetch(image) == BYTES
    with pytest.raises(SettingsError, match="ours"):  # the role is of the other account
        Bucket("ours", patience_s=1, max_bytes=100).check()


def test_a_role_that_is_none_is_refused_by_name(ours: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNIFFER_ASSUME_ROLE", "reads-images")
    with pytest.raises(SettingsError, match="SNIFFER_ASSUME_ROLE must be a role such as arn:aws:iam::.*'reads-images'"):
        Bucket("theirs", patience_s=1, max_bytes=100)


def test_a_role_needs_credentials_that_may_assume_it(ours: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNIFFER_ASSUME_ROLE", ROLE)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    with pytest.raises(SettingsError, match="Unable to locate credentials: check the AWS_"):
        Bucket("theirs", patience_s=1, max_bytes=100)
