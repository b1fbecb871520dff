"""Which target the settings name, and how its model servers are asked."""

from __future__ import annotations

from pathlib import Path

from sniffer.core.errors import SettingsError
from sniffer.core.model_records import MODEL_NAME
from sniffer.core.redaction import SecretUrl
from sniffer.core.settings import RolloutSettings, ServingSettings
from sniffer_rollout.targets.target import Target


def open_target(settings: RolloutSettings, *, force_conflicts: bool = False) -> Target:
    """The target that the settings name; raises SettingsError when they name none."""
    kind, _, place = settings.target.partition(":")
    if kind == "local" and place:
        from sniffer_rollout.targets.local import LocalTarget

        return LocalTarget(Path(place), settings.model_base, settings.replicas)
    namespace, _, deployment = place.partition("/")
    if kind == "kubernetes" and namespace and deployment:
        # Imported here: its client takes a second.
        from sniffer_rollout.targets.kubernetes import connect

        return connect(namespace, deployment, settings, force_conflicts=force_conflicts)
    raise SettingsError(
        f"the target must look like kubernetes:NAMESPACE/DEPLOYMENT or local:DIR, not {settings.target!r}: give "
        "--target or SNIFFER_ROLLOUT_TARGET"
    )


def serving_at(replica: SecretUrl, patience_s: float = 0.0, read_timeout_s: float = 60.0) -> ServingSettings:
    """How to ask the model server with that base URL for our model."""
    return ServingSettings(replica / f"v1/models/{MODEL_NAME}", patience_s, read_timeout_s=read_timeout_s)
