"""A local S3: moto's server as a process, the environment that sends AWS clients to it, and a client."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from sniffer_local.processes import Child, Service, answers_http, free_port

REGION = "us-east-1"
ACCESS_KEY = "local"
SECRET_KEY = "local-only"  # moto checks no signatures: this opens nothing


def endpoint_url(port: int) -> str:
    """Where the local S3 listens."""
    return f"http://127.0.0.1:{port}"


def aws_environ(port: int) -> Mapping[str, str]:
    """The standard variables that send every AWS client of a process to the local S3, and to nothing else."""
    return {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint_url(port),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def s3_service(port: int, log: Path) -> Service:
    """moto's server on that port of the loopback. Objects are in memory: they live as long as the process."""
    command = (sys.executable, "-m", "sniffer_local.moto_server", "-H", "127.0.0.1", "-p", str(port))
    return Service("s3", command, log, lambda: answers_http(port))


def kept_s3_service(port: int, folder: Path, log: Path) -> Service:
    """The same server, which keeps its objects in a folder; it answers once they are all back."""
    command = (sys.executable, "-m", "sniffer_local.s3_server", f"--port={port}", f"--folder={folder}")
    return Service(
        "s3",
        command,
        log,
        lambda: answers_http(port),
        start_limit_s=120.0,
        stop_limit_s=60.0,
        address=endpoint_url(port),
    )


def s3_client(port: int) -> Any:
    """A boto3 client of the local S3 that reads no profile and no credentials of the user's."""
    session = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION)
    config = Config(retries={"max_attempts": 3, "mode": "standard"}, max_pool_connections=16)
    return session.client("s3", endpoint_url=endpoint_url(port), config=config)


class S3(Child):
    """A throw-away S3 for tests; start, stop, kill and restart keep its port, and empty it."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        super().__init__(s3_service(self.port, folder / "moto.log"))

    @property
    def endpoint_url(self) -> str:
        """Where it listens."""
        return endpoint_url(self.port)

    def client(self) -> Any:
        """A boto3 client of this server."""
        return s3_client(self.port)
