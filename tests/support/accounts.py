"""Two AWS accounts, as far as S3 and STS go: ours, and one whose bucket only its roles may read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from sniffer_local.s3 import ACCESS_KEY, REGION, S3, SECRET_KEY

OTHER_ACCOUNT = "111122223333"
ROLE = f"arn:aws:iam::{OTHER_ACCOUNT}:role/reads-images"
"""One that our keys may assume, and that may read the bucket `theirs`."""


@contextmanager
def two_accounts(folder: Path, content: bytes) -> Iterator[S3]:
    """A server with our bucket `ours`, and `theirs` of the other account, which holds `a.jpg` with that content."""
    server = S3(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_S3_ALLOW_CROSSACCOUNT_ACCESS", "false")
        server.start()
    try:
        server.client().create_bucket(Bucket="ours")
        theirs = _client_of_the_other(server)
        theirs.create_bucket(Bucket="theirs")
        theirs.put_object(Bucket="theirs", Key="a.jpg", Body=content)
        yield server
    finally:
        server.stop()


def _client_of_the_other(server: S3) -> Any:
    more: Any = {"endpoint_url": server.endpoint_url, "region_name": REGION}
    sts = boto3.client("sts", aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY, **more)
    given = sts.assume_role(RoleArn=ROLE, RoleSessionName="setup")["Credentials"]
    return boto3.client(
        "s3",
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
        **more,
    )
