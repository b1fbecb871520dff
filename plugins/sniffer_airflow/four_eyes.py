"""Whether who asks for a version must not be who approves it, by the environment of Airflow's process."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sniffer.core import variables as var

_IN_KUBERNETES = "kubernetes:"
_PODS = "pods"


def asks_for_four_eyes(environ: Mapping[str, str] = os.environ) -> bool:
    """What SNIFFER_FOUR_EYES says, or else yes in Kubernetes, which is production. SettingsError for nonsense."""
    four_eyes = var.FOUR_EYES.read(environ)
    target = var.ROLLOUT_TARGET.read(environ)
    in_production = var.RUN_IN.read(environ) == _PODS or target.startswith(_IN_KUBERNETES)
    return in_production if four_eyes is None else four_eyes


def is_same_person(one: str, other: str) -> bool:
    """Whether two names are of one person: some identity providers do not tell Ana from ana, so both are one here."""
    return one.strip().casefold() == other.strip().casefold()
