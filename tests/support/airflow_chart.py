"""The pods that Airflow's official Helm chart makes of our values, as far as Pod Security looks at them.

The chart cannot be had in a test. Its rule is part of its interface: a component's own `securityContexts` replace the
global ones as a whole, which replace the chart's defaults.
"""

from __future__ import annotations

from collections.abc import Iterator

from support.manifests import Resource

# Component → its containers beside its own: the settings of each are under that name in the component's values.
COMPONENTS = {
    "scheduler": ("waitForMigrations", "logGroomerSidecar"),
    "apiServer": ("waitForMigrations",),
    "dagProcessor": ("waitForMigrations", "logGroomerSidecar"),
    "triggerer": ("waitForMigrations", "logGroomerSidecar"),
    "migrateDatabaseJob": (),
    "createUserJob": (),
    "databaseCleanup": (),
    "cleanup": (),
}
WITH_CONTEXTS_OF_THEIR_OWN = ("redis", "statsd", "postgresql", "pgbouncer", "flower")
"""Parts of the chart that take no heed of the global ones."""
ON_BY_DEFAULT = {"redis", "statsd", "postgresql"}


def pods(values: Resource) -> Iterator[tuple[str, Resource]]:
    """Each component with its pod's spec."""
    for name in WITH_CONTEXTS_OF_THEIR_OWN:
        if values.get(name, {}).get("enabled", name in ON_BY_DEFAULT):
            yield name, _pod(values.get(name, {}), {}, ())
    for name, side_cars in COMPONENTS.items():
        yield name, _pod(values.get(name, {}), values.get("securityContexts", {}), side_cars)


def _pod(component: Resource, common: Resource, side_cars: tuple[str, ...]) -> Resource:
    own = component.get("securityContexts", {})
    parts = [component, *(component.get(each, {}) for each in side_cars)]
    contexts = [
        part.get("securityContexts", {}).get("container") or common.get("containers") or _CONTAINER for part in parts
    ]
    extra = [*component.get("extraInitContainers", []), *component.get("extraContainers", [])]
    return {
        "securityContext": own.get("pod") or component.get("securityContext") or common.get("pod") or _POD,
        "containers": [
            *({"name": f"container {number}", "securityContext": each} for number, each in enumerate(contexts)),
            *extra,
        ],
        "volumes": component.get("extraVolumes", []),
    }


_POD = {"runAsUser": 50000, "fsGroup": 0}
_CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
