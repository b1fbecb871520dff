"""docker-compose.yaml, as it was parsed."""

from __future__ import annotations

from typing import Any

ComposeService = dict[str, Any]
Services = dict[str, ComposeService]
"""Its services by name."""
