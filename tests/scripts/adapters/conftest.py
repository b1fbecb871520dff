"""An S3 that lies, with the AWS variables of the test pointing to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.lying_s3 import LyingS3


@pytest.fixture
def aws_variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No AWS variable but made-up credentials and a region."""
    import os

    for name in [name for name in os.environ if name.upper().startswith("AWS_") or name.upper().endswith("_PROXY")]:
        monkeypatch.delenv(name)
    values = {
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        "AWS_CONFIG_FILE": "/nonexistent",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def lying_s3(aws_variables: pytest.MonkeyPatch) -> Iterator[LyingS3]:
    """Bucket `bkt`."""
    with LyingS3() as server:
        aws_variables.setenv("AWS_ENDPOINT_URL", server.url)
        yield server
