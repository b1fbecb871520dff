"""What the programs of the training path have in common: their folders, and the variables that they read."""

from __future__ import annotations

import argparse
from pathlib import Path

from sniffer.core.variables import S3_ENVIRONMENT

ENVIRONMENT = (
    *S3_ENVIRONMENT,
    "SNIFFER_FETCH_THREADS",
    "SNIFFER_MAX_IMAGE_BYTES",
    "SNIFFER_MAX_IMAGE_PIXELS",
    "SNIFFER_LOG_FORMAT",
)
"""Of a program that reads images."""

DATABASE_ENVIRONMENT = ("SNIFFER_DATABASE_URL", "SNIFFER_DATABASE_PATIENCE_S", *ENVIRONMENT)
"""Of one that knows the registered models, too."""


def add_workdir(parser: argparse.ArgumentParser, state: str) -> None:
    """The flag of the training run's folder, which is in that state."""
    text = f"folder of this training run{state}"
    parser.add_argument("--workdir", required=True, type=Path, metavar="DIR", help=text)


def add_feature_cache(parser: argparse.ArgumentParser) -> None:
    """The flag of the folder of cached features."""
    text = "folder of cached features, shared by runs"
    parser.add_argument("--feature-cache", required=True, type=Path, metavar="DIR", help=text)
