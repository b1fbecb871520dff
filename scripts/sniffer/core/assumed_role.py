"""The role as which S3 is asked: another account's bucket is read by a role there that our credentials may assume."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from sniffer.core import variables as var
from sniffer.core.errors import SettingsError


@dataclass(frozen=True, slots=True)
class AssumedRole:
    """A role by its ARN, and the external id that its owner asks for, if one does."""

    arn: str
    external_id: str = ""


def assumed_role(environ: Mapping[str, str] = os.environ) -> AssumedRole | None:
    """Read the role that S3 is asked as; None: as whoever boto3 finds. Raises SettingsError for what is no role."""
    arn = var.ASSUME_ROLE.read(environ).strip()
    if not arn:
        return None
    if not is_role_arn(arn):
        raise SettingsError(f"{var.ASSUME_ROLE.name} must be a role such as {var.ASSUME_ROLE.example}, not {arn!r}")
    return AssumedRole(arn, var.ASSUME_ROLE_EXTERNAL_ID.read(environ).strip())


def is_role_arn(text: str) -> bool:
    """Whether it names an IAM role, in any partition of AWS."""
    return re.fullmatch(r"arn:[a-z-]+:iam::\d{12}:role/[\w+=,.@/-]{1,512}", text, re.ASCII) is not None
