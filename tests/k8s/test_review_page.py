"""The review page in the cluster: settings that it reads, probes that it answers, and nothing that it could write."""

from __future__ import annotations

from typing import Any

import pytest
from support.manifests import Manifests

from sniffer.core.errors import SettingsError
from sniffer.core.review_settings import review_settings
from sniffer.review.web.serve import PROGRAM
from sniffer.review.web.shield import HEALTH, MOST_BODY_BYTES

ADDRESS = "https://review.example.com"


@pytest.fixture
def environ(everything: Manifests) -> dict[str, str]:
    """What the page's own ConfigMap says."""
    maps = {each["metadata"]["name"]: each for each in everything.of_kind("ConfigMap")}
    [name] = [name for name in maps if name.startswith("sniffer-review")]
    data: dict[str, str] = maps[name]["data"]
    return data


@pytest.fixture
def container(everything: Manifests) -> dict[str, Any]:
    [found] = everything.get("Deployment", "sniffer-review")["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_it_reads_every_setting_and_needs_its_address(environ: dict[str, str], container: dict[str, Any]) -> None:
    assert set(environ) <= set(PROGRAM.environment)
    flags = dict(arg.removeprefix("--").split("=") for arg in container["args"])
    host, port = flags["host"], int(flags["port"])
    with pytest.raises(SettingsError, match="SNIFFER_REVIEW_URL must say"):
        review_settings(host, port, environ)
    filled_in = {**environ, "SNIFFER_REVIEW_URL": ADDRESS, "SNIFFER_REVIEW_PROXIES": "10.0.64.0/18"}
    settings = review_settings(host, port, filled_in)
    assert settings.is_https and settings.oidc is None and settings.proxies == ("10.0.64.0/18",)


def test_it_is_asked_where_it_answers(everything: Manifests, container: dict[str, Any]) -> None:
    [port] = container["ports"]
    assert f"--port={port['containerPort']}" in container["args"]
    assert [each["port"] for each in everything.get("Service", "sniffer-review")["spec"]["ports"]] == [8090]
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": HEALTH, "port": port["name"]}
    # While MySQL is away it goes on: what is readiness for a minute is life for a quarter of an hour.
    alive = container["livenessProbe"]
    assert alive["periodSeconds"] * alive["failureThreshold"] >= 900


def test_its_address_and_its_secrets_are_its_own(container: dict[str, Any]) -> None:
    from_maps = [each["configMapRef"]["name"] for each in container["envFrom"] if "configMapRef" in each]
    assert len(from_maps) == 1 and from_maps[0].startswith("sniffer-review")
    secrets = [each["secretRef"]["name"] for each in container["envFrom"] if "secretRef" in each]
    assert secrets == ["sniffer-review", "sniffer-aws-review"]


def test_its_ingress_has_tls_for_its_host_and_passes_on_what_the_page_takes(everything: Manifests) -> None:
    ingress = everything.get("Ingress", "sniffer-review")
    [rule], [tls] = ingress["spec"]["rules"], ingress["spec"]["tls"]
    assert tls["hosts"] == [rule["host"]] and tls["secretName"]
    annotations = {name.rpartition("/")[2]: value for name, value in ingress["metadata"]["annotations"].items()}
    assert annotations["force-ssl-redirect"] == "true"
    size = annotations["proxy-body-size"]
    assert size.endswith("m") and int(size[:-1]) << 20 == MOST_BODY_BYTES
    [path] = rule["http"]["paths"]
    service = path["backend"]["service"]
    ports = everything.get("Service", service["name"])["spec"]["ports"]
    assert service["port"]["name"] in {each["name"] for each in ports} and path["path"] == "/"


def test_coop_s_key_is_a_secret_of_its_own_that_need_not_be_there(container: dict[str, Any]) -> None:
    [coop] = [each for each in container["env"] if each["name"] == "SNIFFER_REVIEW_COOP_KEY"]
    reference = coop["valueFrom"]["secretKeyRef"]
    assert reference == {"name": "sniffer-review-coop", "key": "SNIFFER_REVIEW_COOP_KEY", "optional": True}
