"""Whose credentials ask S3: those that boto3 finds, or those of a role that they may assume."""

from __future__ import annotations

import functools
import getpass
import os
import re
import socket
from collections.abc import Mapping
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import NoCredentialsError

from sniffer.core.assumed_role import assumed_role

_SESSION_NAME_CHARS = 64


def aws_session(config: Config, environ: Mapping[str, str] = os.environ) -> boto3.session.Session:
    """A session by boto3's own rules; with SNIFFER_ASSUME_ROLE, as that role, which is assumed anew before it ends.

    boto3 itself assumes a role for a profile in a file alone. Here it may stand on any credentials: keys of the
    environment, of a container or an instance, or those of another role. The role is assumed with the first request.
    Raises NoCredentialsError when there is nothing that it could be assumed with, SettingsError for a wrong setting.
    """
    role = assumed_role(environ)
    session = boto3.session.Session()
    if role is None:
        return session
    credentials = session.get_credentials()
    if credentials is None:
        raise NoCredentialsError
    fetcher = AssumeRoleCredentialFetcher(
        functools.partial(session.client, region_name=session.region_name or "us-east-1", config=config),
        credentials,
        role.arn,
        {"RoleSessionName": _session_name()} | ({"ExternalId": role.external_id} if role.external_id else {}),
    )
    of_role = botocore.session.Session()
    of_role.register_component("credential_provider", CredentialResolver([_OfRole(fetcher)]))
    return boto3.session.Session(botocore_session=of_role)


class _OfRole(CredentialProvider):  # type: ignore[misc]  # botocore has no types
    """What botocore asks for credentials."""

    METHOD = CANONICAL_NAME = "assume-role"

    def __init__(self, fetcher: AssumeRoleCredentialFetcher) -> None:
        super().__init__()
        self._fetcher = fetcher

    def load(self) -> Any:
        return DeferredRefreshableCredentials(self._fetcher.fetch_credentials, self.METHOD)


def _session_name() -> str:
    """Who assumed it, as the bucket owner's log shows it."""
    who = f"sniffer-{getpass.getuser()}@{socket.gethostname()}"
    return re.sub(r"[^\w+=,.@-]", "-", who, flags=re.ASCII)[:_SESSION_NAME_CHARS]
