"""Metrics in the cluster: who is asked, what is alerted on and drawn exists, and each alert fires when it should."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from support.manifests import Manifests, Render, render_folder

from sniffer.core.metrics import METRICS, Kind
from sniffer.core.settings import metrics_settings

COMPONENT = "components/monitoring"
CHECKOUT = Path(__file__).parents[2]
PLAYED = sorted(Path(__file__).parent.glob("*_test.yaml"))
PARTS = ("bucket", "count")
NAMES = {
    name
    for metric in METRICS
    for name in ([f"{metric.name}_{part}" for part in PARTS] if metric.kind is Kind.HISTOGRAM else [metric.name])
}
PROMTOOL = shutil.which("promtool")


@pytest.fixture(scope="module")
def monitored(k8s: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifests:
    """The CPU overlay with the component."""
    folder = tmp_path_factory.mktemp("overlay")
    up = os.path.relpath(k8s, folder)
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{up}/overlays/cpu"],
        "components": [f"{up}/{COMPONENT}"],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return render_folder(folder)


@pytest.fixture
def rules_folder(monitored: Manifests, tmp_path: Path) -> Path:
    """A folder with each group of rules as Prometheus itself reads it, and their tests."""
    for group in monitored.get("PrometheusRule", "sniffer")["spec"]["groups"]:
        (tmp_path / f"{group['name']}.yaml").write_text(yaml.safe_dump({"groups": [group]}))
    for file in PLAYED:
        shutil.copy(file, tmp_path)
    return tmp_path


def rules_of(monitored: Manifests) -> list[dict[str, Any]]:
    groups = monitored.get("PrometheusRule", "sniffer")["spec"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def promtool(folder: Path, *words: str) -> None:
    if PROMTOOL is None:
        pytest.skip("promtool is not installed: it is in Debian's package prometheus")
    done = subprocess.run([PROMTOOL, *words], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_listens_unless_the_component_is_there(render: Render, monitored: Manifests) -> None:
    settings = render("overlays/cpu").get("ConfigMap", "sniffer-settings")["data"]
    assert metrics_settings(environ=settings) is None
    merged = monitored.get("ConfigMap", "sniffer-settings")["data"]
    assert settings.items() <= merged.items()
    found = metrics_settings(environ=merged)
    assert found is not None and found.host == "0.0.0.0"
    (endpoint,) = monitored.get("PodMonitor", "sniffer-fleet")["spec"]["podMetricsEndpoints"]
    assert found.linger_s > 2 * int(endpoint["interval"].removesuffix("s"))


def test_prometheus_is_let_in_to_the_port_of_every_pod_of_the_fleet(render: Render, monitored: Manifests) -> None:
    settings = monitored.get("ConfigMap", "sniffer-settings")["data"]
    port = int(settings["SNIFFER_METRICS_PORT"])
    selected = monitored.get("PodMonitor", "sniffer-fleet")["spec"]["selector"]["matchLabels"]
    policy = monitored.get("NetworkPolicy", "fleet-from-prometheus")["spec"]
    assert policy["podSelector"]["matchLabels"] == selected
    assert [each["port"] for each in policy["ingress"][0]["ports"]] == [port]
    pods = [pod for name in ("pods", "fleet") for _, pod in render(name).pods()]
    fleet = [pod for pod in pods if selected.items() <= pod["metadata"]["labels"].items()]
    assert len(fleet) == 3
    for pod in fleet:
        (container,) = pod["spec"]["containers"]
        assert {"name": "metrics", "containerPort": port} in [
            {key: each[key] for key in ("name", "containerPort")} for each in container["ports"]
        ]


def test_who_reads_the_state_has_the_reader_s_secret_and_its_figures_are_reached(monitored: Manifests) -> None:
    settings = monitored.get("ConfigMap", "sniffer-settings")["data"]
    pod = monitored.get("Deployment", "sniffer-state-metrics")["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert [port["containerPort"] for port in container["ports"]] == [int(settings["SNIFFER_METRICS_PORT"])]
    secrets = [each["valueFrom"]["secretKeyRef"]["name"] for each in container["env"]]
    assert secrets == ["sniffer-database-reader"]
    policy = monitored.get("NetworkPolicy", "state-to-mysql-and-from-prometheus")["spec"]
    selected = monitored.get("PodMonitor", "sniffer-state")["spec"]["selector"]["matchLabels"]
    assert policy["podSelector"]["matchLabels"] == selected
    assert selected.items() <= pod["metadata"]["labels"].items()
    spec = importlib.util.find_spec(container["command"][2])
    assert container["command"][:2] == ["python", "-m"] and spec is not None


def test_all_of_it_is_in_our_namespace(monitored: Manifests) -> None:
    """The overlay names none, since its policies are of the whole cluster: what says nothing lands in `default`."""
    namespaced = ("ServiceAccount", "Deployment", "PodMonitor", "PrometheusRule", "NetworkPolicy", "ConfigMap")
    for kind in namespaced:
        assert {each["metadata"].get("namespace") for each in monitored.of_kind(kind)} == {"sniffer"}, kind


def test_every_figure_of_an_alert_or_a_panel_exists(monitored: Manifests) -> None:
    rules = rules_of(monitored)
    panels = dashboard(monitored)["panels"]
    queries = [rule["expr"] for rule in rules] + [target["expr"] for each in panels for target in each["targets"]]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    assert {name for query in queries for name in re.findall(r"\bsniffer:[\w:]+", query)} <= recorded
    named = {name for query in queries for name in re.findall(r"\bsniffer_\w+", query)}
    assert named <= NAMES
    # Whatever is counted is seen somewhere; whether the listing has ended shows in two other figures.
    assert NAMES - named == {"sniffer_listing_finished", "sniffer_model_server_seconds_count"}


def test_the_dashboard_is_one(monitored: Manifests) -> None:
    panels = dashboard(monitored)["panels"]
    assert len({each["id"] for each in panels}) == len({each["title"] for each in panels}) == len(panels)
    places = [(each["gridPos"]["x"], each["gridPos"]["y"]) for each in panels]
    assert len(set(places)) == len(panels)


def dashboard(monitored: Manifests) -> dict[str, Any]:
    found = monitored.get("ConfigMap", "sniffer-dashboard")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    document: dict[str, Any] = json.loads(found["data"]["sniffer.json"])
    return document


def test_each_alert_fires_when_it_should_and_only_then(monitored: Manifests, rules_folder: Path) -> None:
    cases = [
        case
        for file in PLAYED
        for test in yaml.safe_load(file.read_text())["tests"]
        for case in test["alert_rule_test"]
    ]
    alerts = {(rule["alert"], rule["labels"]["severity"]) for rule in rules_of(monitored) if "alert" in rule}
    fired = {(case["alertname"], each["exp_labels"]["severity"]) for case in cases for each in case["exp_alerts"]}
    assert fired == alerts
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == {name for name, _ in alerts}
    promtool(rules_folder, "check", "rules", "sniffer.yaml", "sniffer-objectives.yaml")
    promtool(rules_folder, "test", "rules", *(file.name for file in PLAYED))


def test_each_alert_names_its_runbook(monitored: Manifests) -> None:
    for rule in rules_of(monitored):
        if "alert" in rule:
            file, _, section = rule["annotations"]["runbook"].partition("#")
            assert section == rule["alert"].lower()
            assert f"\n## {rule['alert']}\n" in (CHECKOUT / file).read_text()


def test_the_operators_resources_are_what_its_definitions_take(monitored: Manifests) -> None:
    schemas = json.loads(Path(__file__).with_name("prometheus_operator.json").read_text())
    for kind, name in (("PodMonitor", "sniffer-fleet"), ("PodMonitor", "sniffer-state"), ("PrometheusRule", "sniffer")):
        resource = monitored.get(kind, name)
        jsonschema.validate(resource, schemas[kind])
        for broken in broken_copies(resource):
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(broken, schemas[kind])


def broken_copies(resource: Any) -> Iterator[Any]:
    """It with an unknown field, once in each of its objects with fields of the operator, and without its spec."""
    yield {name: value for name, value in resource.items() if name != "spec"}
    endpoints, groups = (resource["spec"].get(name, []) for name in ("podMetricsEndpoints", "groups"))
    for found in [resource["spec"], *endpoints, *groups, *(group["rules"][0] for group in groups)]:
        found["unknown"] = 1
        yield resource
        del found["unknown"]


def test_our_namespace_is_the_one_whose_volumes_are_watched(monitored: Manifests) -> None:
    (disk,) = (rule for rule in rules_of(monitored) if rule.get("alert") == "SnifferDiskAlmostFull")
    assert monitored.get("Namespace", (*re.findall(r'namespace="([^"]+)"', disk["expr"]),)[0])


def test_the_dashboards_queries_are_promql(monitored: Manifests, tmp_path: Path) -> None:
    queries = [target["expr"] for each in dashboard(monitored)["panels"] for target in each["targets"]]
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries)]
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool(tmp_path, "check", "rules", "queries.yaml")
