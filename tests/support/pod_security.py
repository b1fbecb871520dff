"""The Pod Security Standard `restricted` (kubernetes.io/docs/concepts/security/pod-security-standards), as a check."""

from __future__ import annotations

from collections.abc import Iterator

from support.manifests import Resource

ALLOWED_VOLUMES = {
    "configMap",
    "downwardAPI",
    "emptyDir",
    "persistentVolumeClaim",
    "projected",
    "secret",
    "csi",
    "ephemeral",
}
HOST_FIELDS = ("hostNetwork", "hostPID", "hostIPC")


def violations(spec: Resource) -> list[str]:
    """What the standard forbids in a pod's spec."""
    pod = spec.get("securityContext", {})
    found = [field for field in HOST_FIELDS if spec.get(field)]
    found += [
        f"volume {each['name']}" for each in spec.get("volumes", []) if not (set(each) - {"name"}) <= ALLOWED_VOLUMES
    ]
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        found += [f"{container['name']}: {each}" for each in _container_violations(container, pod)]
    return found


def _container_violations(container: Resource, pod: Resource) -> Iterator[str]:
    """What it forbids in one container; some of it may be said once for the pod."""
    own = container.get("securityContext", {})
    capabilities = own.get("capabilities", {})
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if "ALL" not in capabilities.get("drop", []) or not set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"}:
        yield "capabilities"
    if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot"
    if own.get("runAsUser", pod.get("runAsUser")) == 0:
        yield "runAsUser"
    if own.get("seccompProfile", pod.get("seccompProfile", {})).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "seccompProfile"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield "hostPort"
