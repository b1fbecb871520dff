"""Every pod keeps to the Pod Security Standard `restricted`, which our namespace enforces: there is no exception."""

import copy

import pytest

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


def violations(spec):
    """What the standard forbids in a pod's spec (kubernetes.io/docs/concepts/security/pod-security-standards)."""
    pod = spec.get("securityContext", {})
    found = [field for field in HOST_FIELDS if spec.get(field)]
    found += [
        f"volume {each['name']}" for each in spec.get("volumes", []) if not (set(each) - {"name"}) <= ALLOWED_VOLUMES
    ]
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        found += [f"{container['name']}: {each}" for each in container_violations(container, pod)]
    return found


def container_violations(container, pod):
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


def test_every_pod_is_restricted(manifests):
    assert {name: found for name, pod in manifests.pods() if (found := violations(pod["spec"]))} == {}


def test_our_namespace_enforces_it(overlay):
    (namespace,) = overlay.of_kind("Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda spec: spec.update(hostNetwork=True), ["hostNetwork"]),
        (lambda spec: spec["volumes"].append({"name": "v", "hostPath": {"path": "/"}}), ["volume v"]),
        (lambda spec: spec["securityContext"].pop("runAsNonRoot"), ["runAsNonRoot"] * 3),
        (lambda spec: spec["securityContext"].update(runAsUser=0), ["runAsUser"] * 3),
        (lambda spec: spec["securityContext"].pop("seccompProfile"), ["seccompProfile"] * 3),
        (lambda spec: spec["containers"][0].pop("securityContext"), ["allowPrivilegeEscalation", "capabilities"]),
        (lambda spec: spec["initContainers"][0]["securityContext"].update(privileged=True), ["privileged"]),
        (lambda spec: spec["containers"][0]["ports"][0].update(hostPort=80), ["hostPort"]),
    ],
)
def test_a_pod_that_is_not_restricted_is_found(overlay, change, found):
    spec = copy.deepcopy(overlay.get("Deployment", "tf-serving")["spec"]["template"]["spec"])
    change(spec)
    assert [each.rpartition(": ")[2] for each in violations(spec)] == found


def test_nothing_is_written_but_to_volumes_with_a_limit(manifests):
    for name, pod in manifests.pods():
        assert all("sizeLimit" in volume["emptyDir"] for volume in pod["spec"]["volumes"] if "emptyDir" in volume), name
    for container in manifests.containers():
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_every_container_says_what_it_needs(manifests):
    for container in manifests.containers():
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), container["name"]
        assert "memory" in container["resources"]["limits"], container["name"]
