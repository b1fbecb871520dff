"""docker-compose.yaml, as it was parsed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ComposeService = dict[str, Any]
Services = dict[str, ComposeService]
"""Its services by name."""


def env_file(path: Path) -> dict[str, str]:
    """The variables of a file that Compose reads."""
    return dict(re.findall(r"^(\w+)=(.*)$", path.read_text(), re.MULTILINE))
