"""A bucket of another account is listed and read as a role there: by real calls, to a moto that parts accounts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.accounts import ROLE, two_accounts

from sniffer.adapters.s3.bucket import Bucket
from sniffer.core.errors import SettingsError
from sniffer_local.s3 import S3, aws_environ

BYTES = b"not ours"


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """An S3 and an STS with a bucket of ours, and one of another account."""
    with two_accounts(tmp_path_factory.mktemp("accounts"), BYTES) as server:
        yield server


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
