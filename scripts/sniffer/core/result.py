"""What a training program hands on at its end: one JSON line on standard output, and a file where one is asked for."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sniffer.core.files import write_json


def add_result_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--result FILE`, which `write_result` takes as its path."""
    parser.add_argument("--result", type=Path, metavar="FILE", help="write the JSON that is printed there as well")


def write_result(document: Mapping[str, Any], path: Path | None) -> None:
    """Print the document; write it to the file as well, if one is asked for. Raises SettingsError."""
    if path is not None:
        write_json(path, document)
    print(json.dumps(document))
